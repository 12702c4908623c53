//! The network of this node. Changing it stays with the operating system.

use crate::gui::App;
use crate::gui::aside::Aside;
use crate::gui::view::{Shell, Viewer, page, size};
use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use std::net::Ipv4Addr;
use std::sync::Arc;

struct InterfaceRow {
    name: String,
    /// Each with its mask, where it is of IPv4.
    addresses: Vec<(String, Option<Ipv4Addr>)>,
    hardware: String,
    received: String,
    sent: String,
}

#[derive(Template)]
#[template(path = "network.html")]
struct NetworkPage {
    shell: Shell,
    node: String,
    interfaces: Vec<InterfaceRow>,
    vip: Vec<String>,
    holder: String,
    common_name: String,
}

pub async fn show(State(app): State<Arc<App>>, Extension(viewer): Extension<Viewer>) -> Response {
    let state = app.state();
    let status = app.context.cluster.status().await;
    let rate = |rate: Option<u64>| rate.map_or_else(|| "\u{2013}".to_owned(), |bytes| format!("{}/s", size(bytes)));
    let interfaces = app.context.host.load().interfaces.into_iter().map(|i| InterfaceRow {
        name: i.name,
        addresses: i.addresses.iter().map(|address| (address.clone(), mask(address))).collect(),
        hardware: i.hardware,
        received: rate(i.rates.map(|rates| rates.0)),
        sent: rate(i.rates.map(|rates| rates.1)),
    });
    let template = NetworkPage {
        shell: Shell::new(&state, &viewer, "/network", "Network").beside(&Aside::of(&app, &viewer, &state).await),
        node: status.this_node,
        interfaces: interfaces.collect(),
        vip: status.vip.addresses,
        holder: status.vip.holder.unwrap_or_else(|| "nobody".into()),
        common_name: state.settings().host_common_name.clone(),
    };
    page(StatusCode::OK, &template)
}

/// The mask of `192.0.2.7/24`; IPv6 has prefixes alone.
fn mask(address: &str) -> Option<Ipv4Addr> {
    let (address, prefix) = address.split_once('/')?;
    address.parse::<Ipv4Addr>().ok()?;
    let prefix: u32 = prefix.parse().ok().filter(|prefix| *prefix <= 32)?;
    Some(Ipv4Addr::from(u32::MAX.checked_shl(32 - prefix).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_those_of_ipv4_alone() {
        for (address, expected) in [
            ("192.0.2.7/24", Some("255.255.255.0")),
            ("10.0.0.1/32", Some("255.255.255.255")),
            ("10.0.0.1/0", Some("0.0.0.0")),
            ("2001:db8::1/64", None),
        ] {
            assert_eq!(mask(address).map(|mask| mask.to_string()).as_deref(), expected, "{address}");
        }
    }
}
