//! The node's TOML file: what one machine must know before it can join the others. Everything else is a replicated
//! setting.

use serde::{Deserialize, Deserializer, de};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Ports used where the file names none.
pub const ADMIN_PORT: u16 = 7440;
pub const RAFT_PORT: u16 = 7441;
pub const PRODUCT_PORT: u16 = 443;
pub const GUI_PORT: u16 = 8443;
pub const METRICS_PORT: u16 = 9440;

/// Where the admin socket is unless the file says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/licraft/admin.sock";

/// `sun_path` of unix(7) holds 108 bytes with its NUL.
const MAX_SOCKET_PATH_BYTES: usize = 107;
/// A node file is a page of text; anything larger is some other file.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// Longest DNS label (RFC 1035, 2.3.4): a node name is used as one.
const MAX_NAME_BYTES: usize = 63;
/// IFNAMSIZ of Linux, without its NUL.
const MAX_INTERFACE_BYTES: usize = 15;
/// A known key at least this similar (Jaro-Winkler, 0 to 1) is offered in place of an unknown one.
const SIMILAR: f64 = 0.7;

/// A checked node file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Unique in the cluster: `primary-node`, `secondary-node`, a witness's name.
    pub name: String,
    pub data_dir: PathBuf,
    pub role: NodeRole,
    /// Public address: pages, products, administration.
    pub address: IpAddr,
    pub raft: Raft,
    pub admin: Admin,
    pub https: Https,
    pub vip: Vip,
    pub metrics: Metrics,
    /// Verifies that the peer is off (exit 0); for two nodes without a witness.
    pub fence: Option<Fence>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeRole {
    Data,
    Witness,
}

/// Node to node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raft {
    /// Cluster address; may be on a private link.
    pub listen: SocketAddr,
}

/// Administration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    pub socket: PathBuf,
    /// For remote administrators and for passing calls on to the active node; mutual TLS.
    pub listen: SocketAddr,
}

/// Ports of products and pages, used on the VIP and on the active node's own addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Https {
    pub product: SocketAddr,
    pub gui: SocketAddr,
    /// Revocation lists in plain HTTP, and nothing else; none: not served that way.
    pub crl: Option<SocketAddr>,
}

/// How this node takes the virtual address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    pub driver: VipDriver,
    /// None: named by `licraft ha deploy --interface`, or the one that reaches the address.
    pub interface: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VipDriver {
    /// Adds the address to an interface; needs CAP_NET_ADMIN and CAP_NET_RAW.
    Netlink,
    /// Listens on an address that is there already (loopback: demo and tests).
    Bind,
    /// Runs commands, each with the address as last argument.
    Hook { add: Vec<String>, remove: Vec<String> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    pub listen: SocketAddr,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    pub command: Vec<String>,
}

/// A file that cannot be used: everything that is wrong with it, each as one sentence.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    path: Option<PathBuf>,
    problems: Vec<String>,
}

impl ConfigError {
    /// What is wrong, one sentence each.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{} is not a usable node file: ", path.display())?,
            None => write!(f, "not a usable node file: ")?,
        }
        write!(f, "{}", self.problems.join("; "))
    }
}

impl Config {
    /// Reads and checks the file at `path`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let fail = |problem: String| ConfigError { path: Some(path.to_owned()), problems: vec![problem] };
        let size = std::fs::metadata(path).map_err(|e| fail(format!("it cannot be read: {e}")))?.len();
        if size > MAX_FILE_BYTES {
            return Err(fail(format!("it has {size} bytes, and a node file has at most {MAX_FILE_BYTES}")));
        }
        let text = std::fs::read_to_string(path).map_err(|e| fail(format!("it cannot be read: {e}")))?;
        Self::parse(&text).map_err(|e| ConfigError { path: Some(path.to_owned()), ..e })
    }

    /// Checks the text of a file.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let file: File =
            toml::from_str(text).map_err(|e| ConfigError { path: None, problems: vec![describe_syntax(text, &e)] })?;
        let (config, mut problems) = file.complete();
        config.check(&mut problems);
        if problems.is_empty() { Ok(config) } else { Err(ConfigError { path: None, problems }) }
    }

    fn check(&self, problems: &mut Vec<String>) {
        if !is_label(&self.name) {
            problems.push(format!(
                "`name` is `{}`: use 1 to {MAX_NAME_BYTES} lower-case letters, digits and hyphens, as in `primary-node`",
                self.name
            ));
        }
        if !self.data_dir.is_absolute() {
            problems.push(format!("`data_dir` is `{}`: give an absolute path", self.data_dir.display()));
        }
        if !self.admin.socket.is_absolute() {
            problems.push(format!("`admin.socket` is `{}`: give an absolute path", self.admin.socket.display()));
        }
        if self.admin.socket.as_os_str().len() > MAX_SOCKET_PATH_BYTES {
            problems.push(format!(
                "`admin.socket` has more than {MAX_SOCKET_PATH_BYTES} bytes, the most that a Unix socket's path may have"
            ));
        }
        for (key, ip) in [("address", self.address), ("raft.listen", self.raft.listen.ip())] {
            if ip.is_unspecified() || ip.is_multicast() {
                problems
                    .push(format!("`{key}` is {ip}: other nodes must reach it, so give an address of this machine"));
            }
        }
        if let Some(interface) = &self.vip.interface
            && (interface.is_empty() || interface.len() > MAX_INTERFACE_BYTES || interface.contains(['/', ' ']))
        {
            problems.push(format!("`vip.interface` is `{interface}`: that is no name of a network interface"));
        }
        if self.fence.as_ref().is_some_and(|f| f.command.is_empty()) {
            problems.push("`fence.command` is empty: give the program and its arguments, or leave [fence] out".into());
        }
        self.check_ports(problems);
    }

    fn check_ports(&self, problems: &mut Vec<String>) {
        let mut listeners = vec![("raft.listen", self.raft.listen), ("admin.listen", self.admin.listen)];
        if self.role == NodeRole::Data {
            listeners.extend([("https.product", self.https.product), ("https.gui", self.https.gui)]);
            listeners.extend(self.https.crl.map(|crl| ("https.crl", crl)));
        }
        listeners.push(("metrics.listen", self.metrics.listen));
        for (i, (key, address)) in listeners.iter().enumerate() {
            if address.port() == 0 {
                problems.push(format!("`{key}` has port 0: give a port from 1 to 65535"));
            }
            for (other, taken) in &listeners[..i] {
                if overlap(*address, *taken) {
                    problems.push(format!("`{key}` ({address}) and `{other}` ({taken}) overlap: use another port"));
                }
            }
        }
    }
}

/// Whether two listeners would be in each other's way: the same port, and an address that covers the other's.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |x: IpAddr, y: IpAddr| match x {
        // A dual-stack socket on `::` takes IPv4 too.
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => true,
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => y.is_ipv4(),
        _ => x == y,
    };
    a.port() == b.port() && (covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}

fn is_label(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Says where an error is and, for an unknown key, which known one is nearest.
fn describe_syntax(text: &str, error: &toml::de::Error) -> String {
    let place = error.span().map_or_else(String::new, |span| {
        let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
        format!("line {line}: ")
    });
    // serde's wording: unknown field `x`, expected one of `a`, `b`
    let message = error.message().trim();
    let Some(rest) = message.strip_prefix("unknown field `") else { return format!("{place}{message}") };
    let mut quoted = rest.split('`').step_by(2);
    let unknown = quoted.next().unwrap_or_default();
    let known: Vec<&str> = quoted.filter(|k| !k.is_empty()).collect();
    let nearest = known
        .iter()
        .map(|k| (strsim::jaro_winkler(unknown, k), *k))
        .filter(|(score, _)| *score >= SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, key)) => format!("{place}`{unknown}` is not a known key; did you mean `{key}`?"),
        None => format!("{place}`{unknown}` is not a known key; known here are {}", known.join(", ")),
    }
}

// ---- the file as written ----

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    data_dir: PathBuf,
    role: NodeRole,
    #[serde(deserialize_with = "ip")]
    address: IpAddr,
    #[serde(default)]
    raft: RaftFile,
    #[serde(default)]
    admin: AdminFile,
    #[serde(default)]
    https: HttpsFile,
    #[serde(default)]
    vip: VipFile,
    #[serde(default)]
    metrics: MetricsFile,
    fence: Option<FenceFile>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RaftFile {
    #[serde(deserialize_with = "listen")]
    listen: Option<SocketAddr>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AdminFile {
    socket: Option<PathBuf>,
    #[serde(deserialize_with = "listen")]
    listen: Option<SocketAddr>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct HttpsFile {
    #[serde(deserialize_with = "listen")]
    product: Option<SocketAddr>,
    #[serde(deserialize_with = "listen")]
    gui: Option<SocketAddr>,
    #[serde(deserialize_with = "listen")]
    crl: Option<SocketAddr>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DriverName {
    #[default]
    Netlink,
    Bind,
    Hook,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct VipFile {
    driver: DriverName,
    interface: Option<String>,
    add_command: Option<Vec<String>>,
    remove_command: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MetricsFile {
    #[serde(deserialize_with = "listen")]
    listen: Option<SocketAddr>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FenceFile {
    command: Vec<String>,
}

impl File {
    /// Puts defaults in place of what is missing.
    fn complete(self) -> (Config, Vec<String>) {
        let mut problems = Vec::new();
        let vip = self.vip.complete(&mut problems);
        let everywhere = |port| SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        let config = Config {
            raft: Raft { listen: self.raft.listen.unwrap_or(SocketAddr::new(self.address, RAFT_PORT)) },
            admin: Admin {
                socket: self.admin.socket.unwrap_or_else(|| DEFAULT_SOCKET.into()),
                listen: self.admin.listen.unwrap_or(SocketAddr::new(self.address, ADMIN_PORT)),
            },
            https: Https {
                product: self.https.product.unwrap_or(everywhere(PRODUCT_PORT)),
                gui: self.https.gui.unwrap_or(everywhere(GUI_PORT)),
                crl: self.https.crl,
            },
            metrics: Metrics {
                listen: self.metrics.listen.unwrap_or(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), METRICS_PORT)),
            },
            name: self.name,
            data_dir: self.data_dir,
            role: self.role,
            address: self.address,
            vip,
            fence: self.fence.map(|f| Fence { command: f.command }),
        };
        (config, problems)
    }
}

impl VipFile {
    fn complete(self, problems: &mut Vec<String>) -> Vip {
        let commands = [("add_command", &self.add_command), ("remove_command", &self.remove_command)];
        for (key, command) in commands {
            let given = command.as_ref().is_some_and(|c| !c.is_empty());
            match self.driver {
                DriverName::Hook if !given => {
                    problems.push(format!(
                        "`vip.driver` is \"hook\", which needs `vip.{key}`: a program and its arguments"
                    ));
                }
                DriverName::Netlink | DriverName::Bind if command.is_some() => {
                    problems.push(format!("`vip.{key}` is used only with `vip.driver` \"hook\": leave it out"));
                }
                _ => {}
            }
        }
        let driver = match self.driver {
            DriverName::Netlink => VipDriver::Netlink,
            DriverName::Bind => VipDriver::Bind,
            DriverName::Hook => VipDriver::Hook {
                add: self.add_command.unwrap_or_default(),
                remove: self.remove_command.unwrap_or_default(),
            },
        };
        Vip { driver, interface: self.interface }
    }
}

fn ip<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        de::Error::custom(format!("`{text}` is not an IP address; give one without a port, as in \"10.0.0.5\""))
    })
}

fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let address = text.parse().map_err(|_| {
        de::Error::custom(format!(
            "`{text}` is not an address with a port; write \"10.0.0.5:{ADMIN_PORT}\" or \"[::]:{GUI_PORT}\""
        ))
    })?;
    Ok(Some(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"
name = "primary-node"
data_dir = "/var/lib/licraft"
role = "data"
address = "10.0.0.5"
[raft]
listen = "192.168.1.4:7441"
[admin]
socket = "/run/licraft/admin.sock"
listen = "10.0.0.5:7440"
[https]
product = "[::]:443"
gui = "[::]:8443"
[vip]
driver = "netlink"
interface = "ens192"
[metrics]
listen = "127.0.0.1:9440"
[fence]
command = ["/usr/local/sbin/fence-peer"]
"#;

    const MINIMAL: &str =
        "name = \"primary-node\"\ndata_dir = \"/var/lib/licraft\"\nrole = \"data\"\naddress = \"10.0.0.5\"\n";

    fn problem(text: &str) -> String {
        Config::parse(text).expect_err("must be refused").problems().join("; ")
    }

    #[test]
    fn the_documented_file_is_accepted() {
        let config = Config::parse(FULL).unwrap();
        assert_eq!(config.name, "primary-node");
        assert_eq!(config.raft.listen, "192.168.1.4:7441".parse().unwrap());
        assert_eq!(config.vip, Vip { driver: VipDriver::Netlink, interface: Some("ens192".into()) });
        assert_eq!(config.fence, Some(Fence { command: vec!["/usr/local/sbin/fence-peer".into()] }));
    }

    #[test]
    fn missing_sections_get_defaults() {
        let config = Config::parse(MINIMAL).unwrap();
        assert_eq!(config.raft.listen, "10.0.0.5:7441".parse().unwrap());
        assert_eq!(config.admin.listen, "10.0.0.5:7440".parse().unwrap());
        assert_eq!(config.admin.socket, PathBuf::from(DEFAULT_SOCKET));
        assert_eq!(config.https.gui, "[::]:8443".parse().unwrap());
        assert_eq!((config.https.crl, &config.vip.driver), (None, &VipDriver::Netlink));
        assert_eq!(config.fence, None);
    }

    #[test]
    fn unknown_keys_name_the_line_and_the_nearest_key() {
        assert_eq!(
            problem(&FULL.replace("interface =", "interfaces =")),
            "line 16: `interfaces` is not a known key; did you mean `interface`?"
        );
        assert_eq!(
            problem(&format!("{MINIMAL}[metric]\nlisten = \"127.0.0.1:9440\"\n")),
            "line 5: `metric` is not a known key; did you mean `metrics`?"
        );
        assert!(problem(&FULL.replace("gui =", "zzz =")).contains("known here are product, gui, crl"));
    }

    #[test]
    fn bad_values_are_named() {
        for (from, to, expected) in [
            ("\"10.0.0.5\"", "\"10.0.0\"", "line 5: `10.0.0` is not an IP address"),
            ("192.168.1.4:7441", "192.168.1.4", "line 7: `192.168.1.4` is not an address with a port"),
            (
                "\"netlink\"",
                "\"keepalived\"",
                "unknown variant `keepalived`, expected one of `netlink`, `bind`, `hook`",
            ),
            ("\"data\"", "\"primary\"", "unknown variant `primary`, expected `data` or `witness`"),
            ("primary-node", "Primary_Node", "`name` is `Primary_Node`"),
            ("/var/lib/licraft", "licraft", "`data_dir` is `licraft`: give an absolute path"),
            ("192.168.1.4:7441", "0.0.0.0:7441", "`raft.listen` is 0.0.0.0"),
            ("[\"/usr/local/sbin/fence-peer\"]", "[]", "`fence.command` is empty"),
            ("role = \"data\"", "", "missing field `role`"),
        ] {
            let text = FULL.replace(from, to);
            assert_ne!(text, FULL);
            let got = problem(&text);
            assert!(got.contains(expected), "{got} does not contain {expected}");
        }
    }

    #[test]
    fn listeners_must_not_overlap() {
        let got = problem(&FULL.replace("10.0.0.5:7440", "192.168.1.4:7441"));
        assert!(
            got.contains("`admin.listen` (192.168.1.4:7441) and `raft.listen` (192.168.1.4:7441) overlap"),
            "{got}"
        );
        assert!(problem(&FULL.replace("[::]:8443", "0.0.0.0:443")).contains("overlap"));
        assert!(problem(&FULL.replace("[::]:8443", "[::]:0")).contains("port 0"));
        assert!(problem(&FULL.replace("gui =", "crl = \"[::]:443\"\ngui =")).contains("`https.crl`"));
    }

    #[test]
    fn every_problem_is_listed_at_once() {
        let text = FULL.replace("primary-node", "-").replace("/var/lib", "var/lib");
        assert_eq!(Config::parse(&text).unwrap_err().problems().len(), 2);
    }

    #[test]
    fn hook_needs_its_commands() {
        let hook = FULL.replace("\"netlink\"", "\"hook\"");
        assert!(problem(&hook).contains("needs `vip.add_command`"));
        let hook = hook.replace("interface =", "add_command = [\"a\"]\nremove_command = [\"b\"]\ninterface =");
        let driver = Config::parse(&hook).unwrap().vip.driver;
        assert_eq!(driver, VipDriver::Hook { add: vec!["a".into()], remove: vec!["b".into()] });
        assert!(problem(&FULL.replace("interface =", "add_command = [\"a\"]\ninterface =")).contains("only with"));
    }
}
