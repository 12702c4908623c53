//! Every page at every width, in light and dark: nothing overflows, nothing is logged, everyone can read and reach it.

use super::driver::Driver;
use super::lab::{ACCOUNT, Lab, PASSWORD, PRIMARY, SECONDARY};
use super::pages::{BENEATH, PAGES, SIGN_IN, STANDBY, asked, beneath, faults, faults_of};

#[test]
fn every_page_is_sound_at_every_width_in_light_and_dark() {
    let Some(lab) = Lab::new() else { return };
    lab.user("ann", &["--role", "system-administrator"]);
    furnish(&lab);
    let driver = Driver::new(&lab);
    let browser = driver.browser();
    let mut found = faults(&browser, &lab.vip(""), &SIGN_IN);
    found.extend(faults(&browser, &lab.own(SECONDARY, ""), &STANDBY));
    browser.open(&lab.vip("/sign-in"));
    browser.sign_in("ann", PASSWORD);
    browser.until_at("/");
    for page in PAGES {
        found.extend(faults(&browser, &lab.vip(""), page));
    }
    for place in BENEATH {
        let page = beneath(&browser, &lab.vip(""), *place);
        found.extend(faults(&browser, &lab.vip(""), &page));
    }
    for (name, list) in [("licenses-transfer", "/licenses"), ("product-instances-transfer", "/product-instances")] {
        let page = asked(&browser, &lab.vip(""), name, list);
        found.extend(faults(&browser, &lab.vip(""), &page));
    }
    assert!(found.is_empty(), "{} faults:\n{}", found.len(), found.join("\n"));
}

/// What makes pages show all that they can: a second virtual account, labels, and licenses that others cover.
fn furnish(lab: &Lab) {
    lab.run(PRIMARY, &["va", "create", "Lab", "--account", ACCOUNT]);
    let labels = ["--add", "voice", "--add", "cost center 7"];
    lab.run(PRIMARY, &[&["license", "tag", "ENHANCED", "--account", ACCOUNT][..], &labels].concat());
    let what = ["entitle", "--license", "ENHANCED", "--name", "Enhanced User", "--quantity", "0"];
    let place = ["--smart-account", "Example Corp", "--virtual-account", "Headquarters", "--covered-by", "ESSENTIAL"];
    lab.central(&[&what[..], &place].concat());
    lab.run(PRIMARY, &["sync", "now", "--account", ACCOUNT]);
}

#[test]
fn the_checks_find_what_is_wrong_on_purpose() {
    let Some(lab) = Lab::new() else { return };
    let driver = Driver::new(&lab);
    let browser = driver.browser();
    let html = r##"<head><title> </title><meta name="viewport" content="user-scalable=no"></head><body>
        <main><h1>One</h1><h1>Two</h1><h4>Deep</h4><p id="twice" style="color: #999; background: #fff">grey</p>
        <p id="twice">beside</p><input id="bare" placeholder="name"><button style="outline: none"></button>
        <a>nowhere</a><a href="/" tabindex="2">first</a><img src="data:,"><table><tr><th>no scope</th></tr></table>
        <nav><a href="/">x</a></nav><nav><a href="/">y</a></nav><ul><p>no item</p></ul><label for="gone">label</label>
        <div style="width: 3000px">wide</div><svg></svg><button style="width: 8px; height: 8px; padding: 0">.</button><button>a</button></main>
        <section style="width: 5em; overflow-wrap: anywhere">incomprehensible <span style="white-space: nowrap">too long for
        that</span></section><div>outside</div></body>"##;
    let found = faults_of(&browser, html).join("\n");
    for expected in [
        "no language",
        "no title",
        "cannot be zoomed",
        "2 elements have the id twice",
        "for names no element",
        "a positive tabindex",
        "2 elements h1",
        "a heading of level 4 after level 1",
        "no header",
        "one of several navigations without a name",
        "outside of all landmarks: <div> \"outside\"",
        "not an item of the list",
        "a field without a label",
        "without a name: <button>",
        "a link to nowhere",
        "an image without alt",
        "a drawing without a title",
        "a heading of a table without scope",
        "8 by 8 pixels, and close to",
        "contrast 2.85 of text: <p#twice> \"grey\"",
        "pixels too wide, by: <div> \"wide\"",
        "the word incomprehensible is broken",
        "wider than its <section>: <span>",
        "not <a> \"first\"",
        "the focus does not show",
    ] {
        assert!(found.contains(expected), "{expected:?} was not found:\n{found}");
    }
}
