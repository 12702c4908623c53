//! The clock on the page Settings.

use super::*;

#[tokio::test]
async fn a_clock_in_doubt_is_shown_and_accepted() {
    let gui = Gui::new();
    let cookie = gui.sign_in("admin", PASSWORD).await;
    gui.get("/settings", &cookie).await.says("The active node’s clock is in no doubt.");
    let idle = gui.get("/settings/clock", &cookie).await;
    assert_eq!(idle.status(), StatusCode::CONFLICT);

    gui.ledger.ahead.store(49 * 3_600_000, Ordering::Relaxed);
    gui.done(Command::SetSettings { settings: gui.ledger.state().settings().clone() });
    gui.get("/settings", &cookie).await.says("and nothing has confirmed that: until then nothing lapses or ends.");
    let asked = gui.get("/settings/clock", &cookie).await;
    asked.says("2 days and 1 hours ahead of where it should be");
    let wrong = gui.submit("/settings/clock", &cookie, &[("time", "1")]).await;
    assert_ne!(wrong.status(), StatusCode::SEE_OTHER);
    assert!(gui.ledger.state().meta().clock_ahead > 0, "nothing is changed by what is wrong");

    let time = NOW.plus(49 * 3_600_000).0.to_string();
    let done = gui.submit("/settings/clock", &cookie, &[("time", &time)]).await;
    assert_eq!(done.header(LOCATION), "/settings?done=clock-accepted");
    assert_eq!((gui.ledger.state().meta().clock_ahead, gui.ledger.state().now().0.to_string()), (0, time));

    gui.done(Command::CreateUser { user: User { role: Role::SystemOperator, ..user("ann", false) } });
    let cookie = gui.sign_in("ann", PASSWORD).await;
    let may = Role::SystemOperator.may(Action::ManageCluster);
    assert_eq!(gui.get("/settings/clock", &cookie).await.status() == StatusCode::FORBIDDEN, !may);
}
