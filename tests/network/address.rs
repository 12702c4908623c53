//! What can happen to the address itself: each is noticed, mended, and told.

use super::cluster::{CLIENT, Cluster, PRIMARY, SECONDARY, VIP, VIP6, until};
use super::lab::ip;

/// The address as `ip` takes it.
const WITH_PREFIX: &str = "10.77.0.12/32";

#[test]
fn an_address_removed_by_hand_is_put_back() {
    let Some(cluster) = Cluster::deployed(VIP) else { return };
    let primary = cluster.host(PRIMARY);
    assert!(primary.has(VIP));
    ip(&["-n", &primary.space, "addr", "del", WITH_PREFIX, "dev", "eth0"]);
    until("the address again", || primary.has(VIP));
    cluster.event(PRIMARY, "10.77.0.12 was taken off primary-node");
    until("an answer", || cluster.ready(VIP) == Some(200));
}

#[test]
fn a_stray_address_on_the_standby_is_removed() {
    let Some(cluster) = Cluster::deployed(VIP) else { return };
    let secondary = cluster.host(SECONDARY);
    for stray in ["10.77.0.12/32", "10.77.0.12/24"] {
        ip(&["-n", &secondary.space, "addr", "add", stray, "dev", "eth0"]);
        until("the stray gone", || !secondary.has(VIP));
    }
    assert!(secondary.has("10.77.0.10"), "the node's own address went too");
    assert!(cluster.host(PRIMARY).has(VIP));
    assert_eq!(cluster.ready(VIP), Some(200));
}

#[test]
fn a_stranger_with_the_address_is_told_of_and_takes_nothing() {
    let Some(cluster) = Cluster::deployed(VIP) else { return };
    let (client, witness) = (cluster.host(CLIENT), cluster.host(super::cluster::WITNESS));
    // Another machine on the link answers for the address.
    ip(&["-n", &witness.space, "addr", "add", WITH_PREFIX, "dev", "eth0"]);
    cluster.event(PRIMARY, &format!("another machine ({}) answers for the virtual address", witness.hardware()));
    assert!(cluster.host(PRIMARY).has(VIP), "the holder gave way to a stranger");
    cluster.held_by(SECONDARY, PRIMARY);
    ip(&["-n", &witness.space, "addr", "del", WITH_PREFIX, "dev", "eth0"]);
    ip(&["-n", &client.space, "neigh", "flush", "dev", "eth0"]);
    until("an answer", || cluster.ready(VIP) == Some(200));
}

#[test]
fn both_families_move_together_and_clients_learn_the_new_place() {
    let Some(mut cluster) = Cluster::deployed(&format!("{VIP},{VIP6}")) else { return };
    let client = cluster.host(CLIENT);
    let (primary, secondary) = (cluster.host(PRIMARY), cluster.host(SECONDARY));
    for address in [VIP, VIP6] {
        until(&format!("an answer at {address}"), || cluster.ready(address) == Some(200));
        assert_eq!(client.neighbour(address), Some(primary.hardware()));
        assert!(primary.has(address) && !secondary.has(address));
    }
    cluster.kill(PRIMARY);
    cluster.held_by(SECONDARY, SECONDARY);
    for address in [VIP, VIP6] {
        // Without an announcement the client would stay with the dead node's hardware address for half a minute.
        until(&format!("{address} at its new place"), || client.neighbour(address) == Some(secondary.hardware()));
        until(&format!("an answer at {address}"), || cluster.ready(address) == Some(200));
        until(&format!("{address} gone from the dead node"), || !primary.has(address));
    }
    // The dead node comes back as standby, without the address.
    cluster.start(PRIMARY);
    cluster.normal();
    cluster.held_by(PRIMARY, SECONDARY);
    assert!(!primary.has(VIP) && !primary.has(VIP6));
}

#[test]
fn nothing_goes_out_from_the_virtual_address() {
    let Some(cluster) = Cluster::deployed(&format!("{VIP},{VIP6}")) else { return };
    let primary = cluster.host(PRIMARY);
    for to in ["10.77.0.30", "fd77::30"] {
        let route = ip(&["-n", &primary.space, "route", "get", to]);
        assert!(!route.contains(&format!("src {VIP} ")) && !route.contains(&format!("src {VIP6} ")), "{route}");
    }
}
