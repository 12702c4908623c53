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
            self.state.licenses.insert(id, Arc::new(License { labels, ..license.clone() }));
            self.changes.insert(RecordKey::License(id));
        }
        Ok(Outcome::Done)
    }
}
