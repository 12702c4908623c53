//! The Licensing workspace: alerts and their history, labels, what is done to several at once, and who did what.

use super::*;

#[tokio::test]
async fn alerts_that_were_cleared_are_history_with_when_and_by_whom() {
    let gui = Gui::new();
    gui.fill("TEST");
    gui.fill("OTHER");
    let cookie = gui.sign_in("admin", PASSWORD).await;
    let source = "TEST/TEST2/regid.base";
    gui.submit("/alerts", &cookie, &[("kind", "insufficient-licenses"), ("source", source)]).await;
    gui.get("/alerts", &cookie).await.says("Major acknowledged by admin, 2026-11-23 02:13 UTC TEST/TEST2/regid.base");
    // Its cause goes with the instances.
    let state = gui.ledger.state();
    let account = state.account_by_name("TEST").unwrap().id;
    let va = state.virtual_account_by_name(account, "TEST2").unwrap().id;
    for instance in state.instances_of(va, None) {
        let remove = format!("/product-instances/{}/remove", instance.id);
        gui.submit(&remove, &cookie, &[]).await;
    }
    assert!(!gui.get("/alerts", &cookie).await.text().contains(source));
    let history = gui.get("/alerts/history", &cookie).await;
    history.says("Alert Severity Source Raised Cleared Cleared by What it said");
    history.says(&format!(
        "Insufficient Licenses Major acknowledged by admin, 2026-11-23 02:13 UTC {source} 2026-11-23 02:13 UTC \
         2026-11-23 02:13 UTC admin"
    ));
    // With those that ended when the accounts became active.
    history.says("Showing Page 1 of 1 (3 Records)");
    gui.get("/alerts/history?severity=major", &cookie).await.says("(1 Record)");
    let of_account = gui.get(&format!("/alerts/history?account={account}"), &cookie).await;
    of_account.says("(2 Records)");
    assert!(of_account.0.body().contains(&format!(r#"<option value="{account}" selected>TEST</option>"#)));
    gui.get("/alerts/history?q=nothing", &cookie).await.says("No past alert matches.");
    gui.get("/alerts?severity=minor&q=none", &cookie).await.says("No alert matches.");

    let user = User {
        virtual_accounts: vec![va],
        ..User::new("ann".into(), Role::VirtualAccountAdministrator, weak_hash(PASSWORD), false)
    };
    gui.done(Command::CreateUser { user });
    let ann = gui.sign_in("ann", PASSWORD).await;
    let own = gui.get("/alerts/history", &ann).await;
    own.says("(1 Record)");
    assert!(!own.text().contains("OTHER"), "{}", own.text());
}
