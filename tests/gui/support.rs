//! The Support Center: checks, and the diagnostic bundle.

use super::*;

#[tokio::test]
async fn the_bundle_tells_how_the_server_is_and_no_secret() {
    let gui = Gui::new();
    let cookie = gui.sign_in("admin", PASSWORD).await;
    gui.done(Command::CreateUser { user: user("ann", false) });
    let bundle = gui.post("/support/bundle", &cookie, "").await;
    assert_eq!(bundle.status(), StatusCode::OK);
    let name = bundle.header("content-disposition");
    assert!(name.starts_with("attachment; filename=\"licraft-diagnostics-primary-node-20261123T"), "{name}");
    let text = bundle.0.body();
    let read: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(read["cluster"]["cluster"], "normal");
    assert_eq!(read["machines"][1]["resources"]["memory_total"], 8_000_000_000_u64);
    assert_eq!(read["settings"]["vip"], "10.0.0.12");
    assert_eq!(read["records"]["users"], 2);
    assert!(read["checks"].as_array().unwrap().len() > 3 && read["log"].is_array(), "{text}");
    assert_eq!(read["events"].as_array().unwrap().last().unwrap()["kind"], "user-created");
    let token = cookie.split('=').nth(1).unwrap();
    for secret in [token, "argon2", "PRIVATE KEY", PASSWORD] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}

#[tokio::test]
async fn who_only_looks_gets_no_bundle() {
    let gui = Gui::new();
    gui.done(Command::CreateUser { user: User { role: Role::ReadOnly, ..user("ann", false) } });
    let cookie = gui.sign_in("ann", PASSWORD).await;
    assert!(!gui.get("/support", &cookie).await.text().contains("Diagnostic bundle"));
    let refused = gui.post("/support/bundle", &cookie, "").await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    refused.says("you may not do this");
}
