//! The column beside the pages of Administration: how the server is, and who is there.

use super::App;
use super::pages::Headline;
use super::view::{Badge, Time, Tone, Viewer, portion, severity, size};
use crate::admin::{ClusterState, ClusterStatus};
use crate::license::State;
use crate::telemetry::Load;
use askama::Template;
use std::time::Duration;

/// Interfaces, alerts and people shown; the others are one click away.
const SHOWN: usize = 5;

#[derive(Template)]
#[template(path = "aside.html")]
pub struct Aside {
    pub health: Badge,
    pub server: String,
    pub version: String,
    pub uptime: String,
    pub load: Load,
    pub alerts: Vec<(Badge, &'static str, String, Time)>,
    /// Who is signed in, and how many browsers they have.
    pub people: Vec<(String, usize)>,
}

impl Aside {
    pub(super) async fn of(app: &App, viewer: &Viewer, state: &State) -> Self {
        let status = app.context.cluster.status().await;
        let mut alerts: Vec<_> = state.alerts().filter(|a| viewer.sees_alert(a, state)).collect();
        alerts.sort_by_key(|alert| std::cmp::Reverse(alert.raised));
        let alerts = alerts.into_iter().take(SHOWN);
        let now = (app.context.clock)().max(state.now());
        let people = state.users().map(|user| (user.name.clone(), state.sessions_of(&user.name, now).count()));
        Self {
            health: health(&status),
            server: status.this_node,
            version: status.version,
            uptime: in_words(app.context.host.uptime()),
            load: app.context.host.load(),
            alerts: alerts
                .map(|a| (severity(a.severity), a.key.kind.title(), a.key.source.clone(), Time(a.raised)))
                .collect(),
            people: people.filter(|(_, sessions)| *sessions > 0).take(SHOWN).collect(),
        }
    }

    /// Empty, and logged, when it cannot be rendered: the page beside it matters more.
    pub fn html(&self) -> String {
        self.render().unwrap_or_else(|error| {
            tracing::error!(%error, "the column beside a page could not be rendered");
            String::new()
        })
    }

    pub fn memory(&self) -> String {
        portion(self.load.resources.memory_used, self.load.resources.memory_total)
    }

    pub fn rate(&self, bytes: &u64) -> String {
        format!("{}/s", size(*bytes))
    }

    pub fn disk(&self) -> String {
        portion(self.load.resources.disk_used, self.load.resources.disk_total)
    }
}

/// `Good` is what operators match on.
fn health(status: &ClusterStatus) -> Badge {
    let headline = Headline::of(status).badge;
    match status.cluster {
        ClusterState::Normal | ClusterState::Standalone if headline.0 != Tone::Bad => Badge(Tone::Good, "Good"),
        _ => headline,
    }
}

/// `3 days 4 hours`: the two largest units.
pub fn in_words(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    let unit = |n: u64, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
    match (days, hours) {
        (0, 0) => unit(minutes, "minute"),
        (0, _) => format!("{} {}", unit(hours, "hour"), unit(minutes, "minute")),
        _ => format!("{} {}", unit(days, "day"), unit(hours, "hour")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_its_two_largest_units() {
        for (seconds, said) in [(59, "0 minutes"), (3_700, "1 hour 1 minute"), (180_000, "2 days 2 hours")] {
            assert_eq!(in_words(Duration::from_secs(seconds)), said);
        }
    }
}
