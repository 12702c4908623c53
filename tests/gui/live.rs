//! Events that tell open pages of news.

use super::*;
use std::time::Duration;

/// Longer than any page waits for an event with news.
const DEADLINE: Duration = Duration::from_secs(20);
/// Shorter than the events without news, of which a page here asks for one a minute.
const EVERY: &str = "/live?every=60";

struct Stream(Body);

impl Stream {
    async fn open(gui: &Gui, cookie: &str, path: &str) -> Self {
        let answer = gui.get_head(path, cookie).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert!(answer.headers().contains_key(CONTENT_SECURITY_POLICY));
        Self(answer.into_body())
    }

    /// The next event; None at the end.
    async fn next(&mut self) -> Option<String> {
        let frame = tokio::time::timeout(DEADLINE, self.0.frame()).await.expect("neither an event nor the end");
        frame.map(|frame| String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
    }

    async fn is_told(&mut self) {
        assert_eq!(self.next().await.as_deref(), Some("data: news\n\n"));
    }
}

#[tokio::test]
async fn open_pages_are_told_of_every_change_and_by_and_by_of_time() {
    let gui = Gui::new();
    let cookie = gui.sign_in("admin", PASSWORD).await;
    let mut stream = Stream::open(&gui, &cookie, EVERY).await;
    gui.done(Command::CreateUser { user: user("ann", false) });
    stream.is_told().await;
    gui.cluster.0.lock().unwrap().nodes[1].state = NodeState::Offline;
    stream.is_told().await;
    // A moment's lag is nothing new.
    gui.cluster.0.lock().unwrap().nodes[1].write_lag_ms = Some(17);
    assert!(tokio::time::timeout(Duration::from_secs(2), stream.0.frame()).await.is_err());

    let mut impatient = Stream::open(&gui, &cookie, "/live?every=1").await;
    impatient.is_told().await;
    impatient.is_told().await;
}

#[tokio::test]
async fn the_events_end_with_the_session_and_with_the_service() {
    let gui = Gui::new();
    let cookie = gui.sign_in("admin", PASSWORD).await;
    let nobody = gui.get(EVERY, "").await;
    assert_eq!(nobody.header(LOCATION), "/sign-in?next=%2Flive%3Fevery%3D60");

    // Listening is no use of a session.
    gui.later.store(SESSION_TOUCH + 1, Ordering::Relaxed);
    let touched = |gui: &Gui| gui.ledger.state.lock().unwrap().sessions_of("admin", NOW).map(|s| s.used).max();
    let before = touched(&gui);
    let mut stream = Stream::open(&gui, &cookie, EVERY).await;
    gui.done(Command::CreateUser { user: user("ann", false) });
    stream.is_told().await;
    assert_eq!(touched(&gui), before);

    gui.done(Command::EndSessions { name: "admin".into() });
    while stream.next().await.is_some() {}
    let cookie = gui.sign_in("admin", PASSWORD).await;
    let mut stream = Stream::open(&gui, &cookie, EVERY).await;
    gui.serving.store(false, Ordering::Relaxed);
    while stream.next().await.is_some() {}
    assert_eq!(gui.get(EVERY, &cookie).await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn who_finds_no_place_is_told_not_to_ask_again() {
    let gui = Gui::new();
    let cookie = gui.sign_in("admin", PASSWORD).await;
    let mut streams = Vec::new();
    loop {
        let answer = gui.get_head(EVERY, &cookie).await;
        if answer.status() == StatusCode::NO_CONTENT {
            break;
        }
        streams.push(answer);
        assert!(streams.len() <= 256, "there is no limit");
    }
    streams.clear();
    assert_eq!(gui.get_head(EVERY, &cookie).await.status(), StatusCode::OK);
}
