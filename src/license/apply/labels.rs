//! Labels, by which operators find licenses again.

use super::*;

impl Apply<'_> {
    pub fn label_license(&mut self, id: LicenseId, add: &[String], remove: &[String]) -> Done {
        let missing = || refuse(Reason::NotFound, format!("There is no license {id}."));
        let license = self.state.license(id).ok_or_else(missing)?;
        add.iter().try_for_each(|label| inputs::label(label))?;
        let mut labels: Vec<String> =
            license.labels.iter().chain(add).filter(|l| !remove.contains(l)).cloned().collect();
        labels.sort_unstable();
        labels.dedup();
        if labels.len() > MAX_LABELS {
            let message = format!("\"{}\" would have {} labels; at most {MAX_LABELS}.", license.name, labels.len());
            return Err(refuse(Reason::Limit, message));
        }
        if labels != license.labels {
            let (account, name) = (license.account, license.name.clone());
            let message = match labels.is_empty() {
                true => format!("\"{name}\" has no labels any more."),
                false => format!("The labels of \"{name}\" are {}.", labels.join(", ")),
            };
            self.state.licenses.insert(id, Arc::new(License { labels, ..license.clone() }));
            self.changes.insert(RecordKey::License(id));
            let message = inputs::cut(&message, MAX_MESSAGE).to_owned();
            self.inform_about(account, "license-labelled", message, vec![Subject::License(id)]);
        }
        Ok(Outcome::Done)
    }
}
