//! Administration by clicks: a second factor, a backup, the message of the day.

use super::driver::{Browser, Driver};
use super::lab::{Lab, PASSWORD, PRIMARY, until};
use super::pages::faults_here;
use licraft::license::{Millis, Totp};
use licraft::pki::seal::Sealer;
use licraft::pki::totp::Seed;
use serde_json::json;

const PASSPHRASE: &str = "correct horse battery staple";
/// A code is another one every 30 seconds.
const STEP_MS: u64 = 30_000;

fn signed_in(driver: &Driver, lab: &Lab) -> Browser {
    let browser = driver.browser();
    browser.open(&lab.vip("/sign-in"));
    browser.sign_in("ann", PASSWORD);
    browser.until_at("/");
    browser
}

/// Signs out, and waits for the form to sign in again.
fn sign_out(browser: &Browser) {
    browser.click(".person form button");
    browser.until_says("User name");
}

/// What an authenticator makes of a secret that was typed into it.
fn seed(groups: &str) -> Seed {
    let secret: String = groups.split_whitespace().collect();
    let bytes = data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).unwrap();
    let sealer = Sealer::generate();
    Seed::open(&sealer, &sealer.seal(Totp::SEED_CONTEXT, &bytes)).unwrap()
}

fn step() -> u64 {
    let Millis(now) = licraft::product::wall_clock()();
    now / STEP_MS
}

#[test]
fn a_second_factor_is_set_up_signs_in_and_is_removed_by_clicks() {
    let Some(lab) = Lab::new() else { return };
    lab.user("ann", &["--role", "read-only"]);
    let driver = Driver::new(&lab);
    let browser = signed_in(&driver, &lab);
    browser.click(".person > a");
    browser.until_at("/password");
    browser.click("main a[href='/two-factor']");
    browser.until_at("/two-factor");
    browser.fill("#current", PASSWORD);
    browser.click("form[action='/two-factor/enrol'] button");
    browser.until_says("Scan this with the authenticator on your telephone");
    let faults = faults_here(&browser, "two-factor-secret");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let seed = seed(browser.run("return document.getElementById('secret').textContent").as_str().unwrap());
    let first = step();
    browser.fill("#code", &seed.code(first));
    browser.click("form[action='/two-factor/confirm'] button");
    browser.until_at("/two-factor?done=factor-in-force");
    browser.says("A code is asked for at each sign-in from now on.");

    sign_out(&browser);
    browser.sign_in("ann", PASSWORD);
    browser.until_says("Code of your authenticator");
    assert!(browser.cookie().is_none(), "the password alone lets nobody in");
    browser.fill("#code", &seed.code(first + 1));
    browser.click("main button");
    browser.until_at("/");

    // Each code counts once: the next one is taken when its time has come.
    until("the next code", || step() > first);
    browser.open(&lab.vip("/two-factor"));
    browser.fill("#current", PASSWORD);
    browser.fill("#code", &seed.code(first + 2));
    browser.click("form[action='/two-factor/remove'] button");
    browser.until_at("/two-factor?done=factor-removed");
    sign_out(&browser);
    browser.sign_in("ann", PASSWORD);
    browser.until_at("/");
}

#[test]
fn a_backup_is_saved_and_checked_by_clicks() {
    let Some(lab) = Lab::new() else { return };
    lab.user("ann", &["--role", "system-administrator"]);
    let driver = Driver::new(&lab);
    let browser = signed_in(&driver, &lab);
    let downloads = tempfile::tempdir().unwrap();
    let to = json!({ "behavior": "allow", "downloadPath": downloads.path() });
    browser.devtools("Page.setDownloadBehavior", to);
    browser.open(&lab.vip("/administration"));
    browser.says("The event log knows of no backup.");
    browser.click("main a[href='/backups']");
    browser.until_at("/backups");
    browser.fill("#passphrase", PASSPHRASE);
    browser.fill("#repeated", "correct horse battery");
    browser.click("form[action='/backups/save'] button");
    browser.until_says("the passphrase and its repetition differ");
    browser.fill("#passphrase", PASSPHRASE);
    browser.fill("#repeated", PASSPHRASE);
    browser.click("form[action='/backups/save'] button");
    let file = || {
        let files = std::fs::read_dir(downloads.path()).unwrap().map(|entry| entry.unwrap().path());
        files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "backup"))
    };
    until("the download", || file().is_some());
    let file = file().unwrap().display().to_string();
    lab.run_with(PRIMARY, &["backup", "verify", &file, "--passphrase-file", "-"], PASSPHRASE);

    browser.open(&lab.vip("/backups"));
    browser.says("ann saved a backup on primary-node.");
    for (passphrase, said) in [("a wrong passphrase", "the passphrase is wrong"), (PASSPHRASE, "The backup is whole")] {
        browser.fill("#its-passphrase", passphrase);
        browser.fill("#file", &file);
        browser.click("form[action='/backups/verify'] button");
        browser.until_says(said);
    }
    browser.says("Of this server");
    browser.says("Product instances 4");
    let logged = browser.log();
    assert!(logged.iter().all(|line| line.contains("status of 422")), "{logged:?}");
    let faults = faults_here(&browser, "backup-checked");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_message_of_the_day_is_read_before_and_after_signing_in() {
    let Some(lab) = Lab::new() else { return };
    lab.user("ann", &["--role", "system-administrator"]);
    let driver = Driver::new(&lab);
    let browser = signed_in(&driver, &lab);
    browser.open(&lab.vip("/settings"));
    let form = "[aria-label='message-of-the-day'] ";
    browser.fill(&format!("{form}textarea"), "For staff of <b>Example Corp</b> alone.\nMaintenance on Sunday.");
    browser.click(&format!("{form}button"));
    browser.until_at("/settings?done=setting-set");
    for (at, name) in [("/licenses", "message"), ("/sign-in", "message-sign-in")] {
        if at == "/sign-in" {
            sign_out(&browser);
        } else {
            browser.open(&lab.vip(at));
        }
        browser.says("For staff of <b>Example Corp</b> alone. Maintenance on Sunday.");
        let faults = faults_here(&browser, name);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
    lab.run(PRIMARY, &["settings", "set", "message-of-the-day", ""]);
    browser.open(&lab.vip("/sign-in"));
    assert!(!browser.text().contains("Example Corp"));
}
