//! Where the demo's processes live: addresses, ports and folders.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;

/// The virtual address.
pub const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 12));
const CENTRAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 20));

/// One node of the demo.
#[derive(Clone, Debug)]
pub struct Node {
    pub name: &'static str,
    pub address: IpAddr,
    pub witness: bool,
}

/// The three nodes, primary first.
pub const NODES: [Node; 3] = [
    Node { name: "primary-node", address: IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 5)), witness: false },
    Node { name: "secondary-node", address: IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 10)), witness: false },
    Node { name: "witness", address: IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 15)), witness: true },
];

/// The ports, the same on every address.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub gui: u16,
    pub product: u16,
    pub raft: u16,
    pub admin: u16,
    pub metrics: u16,
    pub central: u16,
}

impl Ports {
    /// The usual ports, or six in a row from `base`.
    #[must_use]
    pub const fn new(base: Option<u16>) -> Self {
        match base {
            None => Self { gui: 8443, product: 9443, raft: 7441, admin: 7440, metrics: 9440, central: 8444 },
            Some(base) => Self {
                gui: base,
                product: base + 1,
                raft: base + 2,
                admin: base + 3,
                metrics: base + 4,
                central: base + 5,
            },
        }
    }
}

/// All the places of one demo.
#[derive(Clone, Debug)]
pub struct Plan {
    pub dir: PathBuf,
    pub ports: Ports,
}

impl Plan {
    /// Every address the demo listens on that cannot be bound now.
    #[must_use]
    pub fn busy(&self) -> Vec<SocketAddr> {
        let p = &self.ports;
        let mut wanted = vec![SocketAddr::new(CENTRAL, p.central)];
        for node in &NODES {
            wanted.extend([p.raft, p.admin, p.metrics].map(|port| SocketAddr::new(node.address, port)));
        }
        for address in [VIP, NODES[0].address, NODES[1].address] {
            wanted.extend([p.gui, p.product].map(|port| SocketAddr::new(address, port)));
        }
        wanted.retain(|address| TcpListener::bind(address).is_err());
        wanted
    }

    #[must_use]
    pub fn central_dir(&self) -> PathBuf {
        self.dir.join("central")
    }

    #[must_use]
    pub const fn central_listen(&self) -> SocketAddr {
        SocketAddr::new(CENTRAL, self.ports.central)
    }

    #[must_use]
    pub fn socket(&self, node: &Node) -> PathBuf {
        self.dir.join(node.name).join("admin.sock")
    }

    #[must_use]
    pub fn config_file(&self, node: &Node) -> PathBuf {
        self.dir.join(node.name).join("node.toml")
    }

    /// The node file (TOML) of one node.
    #[must_use]
    pub fn config(&self, node: &Node) -> String {
        let Node { name, address, witness } = node;
        let Ports { gui, product, raft, admin, metrics, .. } = self.ports;
        let role = if *witness { "witness" } else { "data" };
        let folder = self.dir.join(name);
        let folder = folder.display();
        format!(
            "name = \"{name}\"\ndata_dir = \"{folder}/data\"\nrole = \"{role}\"\naddress = \"{address}\"\n\n\
             [raft]\nlisten = \"{address}:{raft}\"\n\n\
             [admin]\nsocket = \"{folder}/admin.sock\"\nlisten = \"{address}:{admin}\"\n\n\
             [https]\nproduct = \"{address}:{product}\"\ngui = \"{address}:{gui}\"\n\n\
             [vip]\ndriver = \"bind\"\n\n\
             [metrics]\nlisten = \"{address}:{metrics}\"\n"
        )
    }

    /// Where products register.
    #[must_use]
    pub fn product_url(&self) -> String {
        format!("https://{VIP}:{}/SmartTransport", self.ports.product)
    }

    #[must_use]
    pub fn gui_url(&self) -> String {
        format!("https://{VIP}:{}/", self.ports.gui)
    }
}
