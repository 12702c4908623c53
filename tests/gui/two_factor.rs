//! A person sets up an authenticator, signs in with it and takes it away again.

use super::*;

/// What an authenticator reads from the drawing on a page.
fn scanned(html: &str) -> String {
    let (_, svg) = html.split_once(r#"<svg class="qr" viewBox="0 0 "#).unwrap();
    let size: usize = svg.split(' ').next().unwrap().parse().unwrap();
    let path = svg.split_once(r#"d=""#).unwrap().1.split('"').next().unwrap();
    let mut dark = BTreeSet::new();
    for run in path.split('z').filter(|run| !run.is_empty()) {
        let (start, length) = run.strip_prefix('M').unwrap().split_once('h').unwrap();
        let (x, y) = start.split_once(' ').unwrap();
        let (x, y): (usize, usize) = (x.parse().unwrap(), y.parse().unwrap());
        let length: usize = length.split('v').next().unwrap().parse().unwrap();
        dark.extend((x..x + length).map(|x| (x, y)));
    }
    // Each module as a square of four by four, as on a screen.
    let bit = |x: usize, y: usize| if dark.contains(&(x / 4, y / 4)) { 0 } else { 255 };
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(size * 4, size * 4, bit);
    image.detect_grids()[0].decode().unwrap().1
}

/// The seed in the secret of an otpauth URI.
fn seed_in(uri: &str) -> Seed {
    let secret = uri.split_once("secret=").unwrap().1.split('&').next().unwrap();
    let seed = data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).unwrap();
    Seed::open(&sealer(), &sealer().seal(Totp::SEED_CONTEXT, &seed)).unwrap()
}

const HREF: &str = "/two-factor";

impl Gui {
    async fn begin(&self, cookie: &str) -> (Answer, Seed) {
        let page = self.submit("/two-factor/enrol", cookie, &[("current", PASSWORD)]).await;
        assert_eq!(page.status(), StatusCode::OK, "{}", page.text());
        let uri = scanned(page.0.body());
        (page, seed_in(&uri))
    }
}

#[tokio::test]
async fn an_authenticator_is_set_up_by_its_code_and_asked_for_from_then_on() {
    let gui = Gui::new();
    gui.done(Command::CreateUser { user: User::new("ann".into(), Role::ReadOnly, weak_hash(PASSWORD), false) });
    let (cookie, elsewhere) = (gui.sign_in("ann", PASSWORD).await, gui.sign_in("ann", PASSWORD).await);
    gui.get("/password", &cookie).await.says("The password alone lets in whoever knows it.");
    gui.get(HREF, &cookie).await.says("Set up an authenticator");
    let wrong = gui.submit("/two-factor/enrol", &cookie, &[("current", "a guess")]).await;
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    wrong.says("The password is wrong.");
    assert!(gui.ledger.state().user("ann").unwrap().totp.is_none(), "an open browser is not enough");

    let (page, seed) = gui.begin(&cookie).await;
    let uri = scanned(page.0.body());
    assert!(uri.starts_with("otpauth://totp/licraft:ann?secret="), "{uri}");
    let groups = page.0.body().split(r#"id="secret">"#).nth(1).unwrap().split('<').next().unwrap().to_owned();
    assert_eq!((groups.len(), groups.replace(' ', "")), (39, seed.secret().to_string()));
    // Nothing is in force before a code was given.
    gui.sign_in("ann", PASSWORD).await;
    let pending = gui.get(HREF, &cookie).await;
    pending.says("no code has shown yet");
    assert!(!pending.0.body().contains(&groups) && !pending.0.body().contains("class=\"qr\""), "it is shown once");
    let wrong = gui.submit("/two-factor/confirm", &cookie, &[("code", &seed.code(step(&gui) + 7))]).await;
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);
    wrong.says("The code is wrong. Take the newest one;");
    assert!(!gui.ledger.state().user("ann").unwrap().totp.as_ref().unwrap().confirmed);

    let done = gui.submit("/two-factor/confirm", &cookie, &[("code", &seed.code(step(&gui)))]).await;
    assert_eq!(done.header(LOCATION), "/two-factor?done=factor-in-force", "{}", done.text());
    for old in [&cookie, &elsewhere] {
        assert_eq!(gui.get("/", old).await.header(LOCATION), "/sign-in", "begun without a code");
    }
    let cookie = done.cookie();
    gui.get(done.header(LOCATION), &cookie).await.says("A code is asked for at each sign-in from now on.");
    gui.get("/password", &cookie).await.says("A code of your authenticator is asked for beside the password.");
    let again = gui.submit("/two-factor/enrol", &cookie, &[("current", PASSWORD)]).await;
    assert_eq!(again.status(), StatusCode::UNPROCESSABLE_ENTITY, "one in force is not replaced");
    let ticket = gui.ticket("ann").await;
    assert_eq!(gui.try_code(&ticket, &seed.code(step(&gui) + 1)).await.header(LOCATION), "/licenses");
}

#[tokio::test]
async fn the_second_factor_goes_by_password_and_code_alone() {
    let gui = Gui::new();
    let cookie = gui.sign_in("admin", PASSWORD).await;
    let (_, seed) = gui.begin(&cookie).await;
    let code = |later| seed.code(step(&gui) + later);
    let cookie = gui.submit("/two-factor/confirm", &cookie, &[("code", &code(0))]).await.cookie();
    for (password, code, status, why) in [
        ("a guess", code(1), StatusCode::UNAUTHORIZED, "The password is wrong."),
        (PASSWORD, code(9), StatusCode::UNAUTHORIZED, "The code is wrong."),
        (PASSWORD, code(0), StatusCode::UNPROCESSABLE_ENTITY, "was used already"),
    ] {
        let refused = gui.submit("/two-factor/remove", &cookie, &[("current", password), ("code", &code)]).await;
        assert_eq!(refused.status(), status, "{why}");
        refused.says(why);
        assert!(gui.ledger.state().user("admin").unwrap().totp.is_some());
    }
    // Not by the page for other people either, which asks for neither.
    let own = gui.submit("/users/admin/second-factor", &cookie, &[]).await;
    assert_eq!(own.status(), StatusCode::FORBIDDEN);
    own.says("your own second factor is not removed here");
    let done = gui.submit("/two-factor/remove", &cookie, &[("current", PASSWORD), ("code", &code(1))]).await;
    assert_eq!(done.header(LOCATION), "/two-factor?done=factor-removed", "{}", done.text());
    assert_eq!(gui.get("/", &cookie).await.header(LOCATION), "/sign-in");
    assert_eq!(gui.get("/", &done.cookie()).await.status(), StatusCode::OK);
    assert!(gui.ledger.state().user("admin").unwrap().totp.is_none());
    gui.sign_in("admin", PASSWORD).await;
}

#[tokio::test]
async fn an_administrator_removes_what_another_has_lost() {
    let gui = Gui::new();
    gui.done(Command::CreateUser { user: user("ann", false) });
    gui.done(Command::CreateUser { user: User::new("eve".into(), Role::ReadOnly, weak_hash(PASSWORD), false) });
    enrol(&gui, "ann");
    let eve = gui.sign_in("eve", PASSWORD).await;
    assert_eq!(gui.submit("/users/ann/second-factor", &eve, &[]).await.status(), StatusCode::FORBIDDEN);
    let cookie = gui.sign_in("admin", PASSWORD).await;
    gui.get("/users", &cookie).await.says("ann system-administrator Active 0 in force");
    gui.get("/users/ann", &cookie).await.says("Second factor in force");
    gui.get("/users/ann/second-factor", &cookie).await.says("ann signs in with the password alone");
    let removed = gui.submit("/users/ann/second-factor", &cookie, &[]).await;
    assert_eq!(removed.header(LOCATION), "/users?done=user-changed", "{}", removed.text());
    assert!(gui.ledger.state().user("ann").unwrap().totp.is_none());
    gui.sign_in("ann", PASSWORD).await;
    assert!(!gui.get("/users/ann", &cookie).await.0.body().contains("/second-factor"));
    assert_eq!(gui.submit("/users/ann/second-factor", &cookie, &[]).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_retired_node_changes_no_second_factor() {
    let gui = Gui::on(true);
    let cookie = gui.sign_in("admin", PASSWORD).await;
    assert!(!gui.get(HREF, &cookie).await.0.body().contains("/two-factor/enrol"));
    let refused = gui.submit("/two-factor/enrol", &cookie, &[("current", PASSWORD)]).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    refused.says("This node is retired and read-only.");
}
