//! People sign in, change their passwords, sign out, and are signed out.

use super::driver::Driver;
use super::lab::{Lab, PASSWORD};

#[test]
fn the_first_administrator_signs_in_and_must_choose_a_password() {
    let Some(lab) = Lab::new() else { return };
    let driver = Driver::new(&lab);
    let browser = driver.browser();
    browser.open(&lab.vip("/licenses?q=user"));
    assert_eq!(browser.path(), "/sign-in?next=%2Flicenses%3Fq%3Duser");
    browser.sign_in("admin", "a wrong password");
    browser.until_says("The user name or the password is wrong.");
    assert_eq!(browser.value("#name"), "admin", "nobody likes to type it again");
    assert_eq!(browser.value("#password"), "");
    assert!(browser.cookie().is_none());

    browser.fill("#password", &lab.first_password);
    browser.click("main button");
    browser.until_at("/password");
    browser.says("Your password was set by someone else.");
    for page in ["/", "/licenses", "/high-availability"] {
        browser.open(&lab.vip(page));
        assert_eq!(browser.path(), "/password", "{page} waits until the password is changed");
    }
    browser.change_password(&lab.first_password, PASSWORD, "another repetition");
    browser.until_says("The new password and its repetition differ.");
    browser.change_password(&lab.first_password, PASSWORD, PASSWORD);
    browser.until_at("/");
    browser.says("Overview");

    browser.open(&lab.vip("/licenses?q=user"));
    browser.says("Showing Page 1 of 1 (4 Records)");
    browser.click(".person form button");
    browser.until_at("/sign-in");
    assert!(browser.cookie().is_none());
    browser.back();
    assert!(!browser.text().contains("Records"), "nothing is kept for who comes next: {}", browser.text());
    // The whole way once more, with the page that was asked for.
    browser.open(&lab.vip("/licenses?q=user"));
    browser.sign_in("admin", PASSWORD);
    browser.until_at("/licenses?q=user");
    assert!(browser.log().iter().all(|line| line.contains("status of 401") || line.contains("status of 422")));
}

#[test]
fn a_password_change_ends_every_other_session() {
    let Some(lab) = Lab::new() else { return };
    lab.user("ann", &["--role", "read-only"]);
    let driver = Driver::new(&lab);
    let (here, elsewhere) = (driver.browser(), driver.browser());
    for browser in [&here, &elsewhere] {
        browser.open(&lab.vip("/high-availability"));
        browser.sign_in("ann", PASSWORD);
        browser.until_at("/high-availability");
    }
    here.open(&lab.vip("/password"));
    here.change_password("a wrong password", "five words nobody knows yet", "five words nobody knows yet");
    here.until_says("The current password is wrong.");
    elsewhere.until_refreshed();
    here.change_password(PASSWORD, "five words nobody knows yet", "five words nobody knows yet");
    here.until_at("/");
    // The open page notices by itself.
    elsewhere.until_at("/sign-in?next=%2Fhigh-availability");
    elsewhere.sign_in("ann", PASSWORD);
    elsewhere.until_says("The user name or the password is wrong.");
    here.open(&lab.vip("/licenses"));
    here.says("Showing Page 1 of 1");
}
