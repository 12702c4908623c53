//! Time zones by their names in the IANA database, which is built in: every node shows the same times.

use jiff::tz::{TimeZone, TimeZoneDatabase};
use std::sync::LazyLock;

/// It keeps what was looked up.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The zone with this name; an empty one is UTC.
#[must_use]
pub fn time_zone(name: &str) -> Option<TimeZone> {
    if name.is_empty() { Some(TimeZone::UTC) } else { ZONES.get(name).ok() }
}

/// The names of all zones that are places, in the order of the alphabet.
#[must_use]
pub fn time_zones() -> Vec<String> {
    // The others are old names, and offsets whose sign is the wrong way round.
    let regions =
        ["Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific"];
    let place = |name: &String| name.split_once('/').is_some_and(|(region, _)| regions.contains(&region));
    let mut names: Vec<String> = ZONES.available().map(|name| name.to_string()).filter(place).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_found_by_name_and_only_those() {
        assert!(time_zone("Europe/Berlin").is_some() && time_zone("").is_some_and(|zone| zone == TimeZone::UTC));
        assert!(time_zone("Europe/Nowhere").is_none() && time_zone("../etc/passwd").is_none());
        let names = time_zones();
        assert!(names.len() > 300 && names.iter().any(|name| name == "America/Argentina/Buenos_Aires"));
        assert!(names.iter().all(|name| time_zone(name).is_some() && name.len() <= crate::license::MAX_TIME_ZONE));
    }
}
