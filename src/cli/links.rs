//! The operator's old habits: the binary called by a link named `ha_status`, `ha_deploy`, … does that verb, and asks on
//! a terminal for what is missing.

use super::error::CliError;
use super::terminal::{ask, is_interactive};
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// A link's name, its verb, and what it cannot do without.
struct Link {
    name: &'static str,
    verb: &'static str,
    needs: &'static [(&'static str, &'static str)],
}

const fn link(name: &'static str, verb: &'static str) -> Link {
    Link { name, verb, needs: &[] }
}

const LINKS: [Link; 8] = [
    link("ha_status", "status"),
    link("ha_generatekeys", "generate-keys"),
    Link {
        name: "ha_provision_standby",
        verb: "provision-standby",
        needs: &[("--join", "Cluster address of the primary node: "), ("--code", "Pairing code: ")],
    },
    Link { name: "ha_deploy", verb: "deploy", needs: &[("--vip", "Virtual IP address: ")] },
    link("ha_cluster_start", "start"),
    link("ha_cluster_stop", "stop"),
    link("ha_teardown", "teardown"),
    link("ha_tear_down", "teardown"),
];

/// The command line that a link stands for; any other is left as it is.
pub fn expand(args: Vec<OsString>) -> Result<Vec<OsString>, CliError> {
    let name = args.first().and_then(|arg| Path::new(arg).file_name()).and_then(OsStr::to_str);
    let Some(link) = LINKS.iter().find(|link| name == Some(link.name)) else { return Ok(args) };
    let given = &args[1..];
    let mut expanded: Vec<OsString> = ["licraft", "ha", link.verb].map(Into::into).to_vec();
    expanded.extend_from_slice(given);
    if given.iter().any(|arg| arg == "-h" || arg == "--help") || !is_interactive() {
        // Without a terminal the parser says what is missing, and ends with 2.
        return Ok(expanded);
    }
    for (option, question) in link.needs {
        if !has(given, option) {
            expanded.push(option.into());
            expanded.push(ask(question)?.into());
        }
    }
    Ok(expanded)
}

/// Whether `option` is given, as `--option VALUE` or `--option=VALUE`.
fn has(args: &[OsString], option: &str) -> bool {
    let with_value = format!("{option}=");
    args.iter().any(|arg| arg == option || arg.to_str().is_some_and(|a| a.starts_with(&with_value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(args: &[&str]) -> Vec<OsString> {
        expand(args.iter().map(Into::into).collect()).unwrap()
    }

    #[test]
    fn links_stand_for_verbs() {
        assert_eq!(expanded(&["/usr/bin/ha_cluster_stop", "--force"]), ["licraft", "ha", "stop", "--force"]);
        assert_eq!(expanded(&["ha_tear_down"]), ["licraft", "ha", "teardown"]);
        assert_eq!(expanded(&["/usr/bin/licraft", "version"]), ["/usr/bin/licraft", "version"]);
    }

    #[test]
    fn options_are_recognised_in_both_forms() {
        assert!(has(&["--vip=1".into()], "--vip") && has(&["--vip".into(), "1".into()], "--vip"));
        assert!(!has(&["--vipx".into()], "--vip"));
    }
}
