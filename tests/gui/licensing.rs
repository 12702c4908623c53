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

/// Two virtual accounts of TEST with licenses purchased in the first, and the same of OTHER.
struct Scene {
    gui: Gui,
    cookie: String,
    default: VirtualAccountId,
    lab: VirtualAccountId,
    license: LicenseId,
}

impl Scene {
    async fn new() -> Self {
        let gui = Gui::new();
        gui.fill("TEST");
        gui.fill("OTHER");
        let state = gui.ledger.state();
        for account in state.accounts() {
            let term = Term { quantity: 40, start: Millis(0), end: None, billing: Billing::Prepaid };
            let entitlements = vec![Entitlement {
                tag: "regid.base".into(),
                name: account.name.clone(),
                export_controlled: false,
                terms: vec![term],
                covered_by: vec![],
            }];
            let (account, signed) = (account.id, None);
            gui.done(Command::CompleteSync { account, seq: 1, entitlements, response: [2; 32], signed });
        }
        let state = gui.ledger.state();
        let account = state.account_by_name("TEST").unwrap();
        let lab = state.virtual_account_by_name(account.id, "TEST2").unwrap().id;
        let license = state.licenses(account.id).next().unwrap().id;
        let cookie = gui.sign_in("admin", PASSWORD).await;
        Self { gui, cookie, default: account.default_va, lab, license }
    }

    fn other(&self) -> (VirtualAccountId, LicenseId) {
        let state = self.gui.ledger.state();
        let account = state.account_by_name("OTHER").unwrap();
        (account.default_va, state.licenses(account.id).next().unwrap().id)
    }

    fn purchased(&self, va: VirtualAccountId) -> u64 {
        self.gui.ledger.state().pool(va, self.license).map_or(0, |pool| pool.purchased)
    }

    /// With the role of someone who only looks.
    async fn reader(&self) -> String {
        let user = User::new("reader".into(), Role::ReadOnly, weak_hash(PASSWORD), false);
        self.gui.done(Command::CreateUser { user });
        self.gui.sign_in("reader", PASSWORD).await
    }
}

#[tokio::test]
async fn labels_are_put_on_taken_off_and_find_licenses() {
    let scene = Scene::new().await;
    let Scene { gui, cookie, license, .. } = &scene;
    let page = format!("/licenses/{license}");
    gui.get(&page, cookie).await.says("Labels None.");
    let put = gui.submit(&format!("{page}/labels"), cookie, &[("add", "voice, cost center 7")]).await;
    assert_eq!(put.header(LOCATION), format!("{page}?done=license-labelled"), "{}", put.text());
    assert_eq!(gui.ledger.state().license(*license).unwrap().labels, ["cost center 7", "voice"]);
    let shown = gui.get(&page, cookie).await;
    assert!(shown.0.body().contains(r#"href="/licenses?label=cost%20center%207""#), "{}", shown.0.body());

    let all = gui.get("/licenses", cookie).await;
    all.says("TEST regid.base cost center 7 voice");
    assert!(all.0.body().contains(r#"<option value="voice">voice</option>"#));
    for (query, rows) in
        [("label=voice", 2), ("label=cost+center+7", 2), ("label=other", 0), ("q=VOICE", 2), ("q=base", 4)]
    {
        let found = gui.get(&format!("/licenses?{query}"), cookie).await;
        found.says(&format!("({rows} Records)"));
    }
    let csv = gui.get("/licenses.csv?label=voice", cookie).await;
    assert!(
        csv.0.body().contains("\"cost center 7, voice\"\r\n") && !csv.0.body().contains("OTHER"),
        "{}",
        csv.0.body()
    );

    let off = gui.submit(&format!("{page}/labels"), cookie, &[("remove", "voice")]).await;
    assert_eq!(off.status(), StatusCode::SEE_OTHER);
    assert_eq!(gui.ledger.state().license(*license).unwrap().labels, ["cost center 7"]);
    let none = gui.submit(&format!("{page}/labels"), cookie, &[("add", " , ")]).await;
    assert_eq!(none.status(), StatusCode::UNPROCESSABLE_ENTITY);
    none.says("no label was given");
    let long = gui.submit(&format!("{page}/labels"), cookie, &[("add", "x".repeat(65).as_str())]).await;
    long.says("A label has at most 64 bytes and no comma.");

    let reader = scene.reader().await;
    let refused = gui.submit(&format!("{page}/labels"), &reader, &[("add", "mine")]).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(!gui.get(&page, &reader).await.0.body().contains("Take off"));
    assert!(!gui.get("/licenses", &reader).await.0.body().contains("checkbox"));
}

#[tokio::test]
async fn several_licenses_are_transferred_after_a_look_at_each() {
    let scene = Scene::new().await;
    let Scene { gui, cookie, default, lab, license } = &scene;
    let (other_va, other_license) = scene.other();
    let ticked = format!("pool={default}-{license}&pool={lab}-{license}&pool={other_va}-{other_license}&pool=9-9");
    let plan = gui.get(&format!("/licenses/transfer?{ticked}&to={lab}"), cookie).await;
    assert_eq!(plan.status(), StatusCode::OK);
    plan.says("TEST TEST / Default of 40 They move from Default to TEST2.");
    plan.says("Not possible A transfer moves at least one license between two virtual accounts of its own account.");
    plan.says("Not possible there is no such license here.");
    plan.says("Transfer (1 of 4)");
    assert_eq!(scene.purchased(*lab), 0, "a look changes nothing");
    let none = gui.get("/licenses/transfer", cookie).await;
    assert_eq!(none.status(), StatusCode::UNPROCESSABLE_ENTITY);
    none.says("nothing was ticked");
    let nowhere = gui.get(&format!("/licenses/transfer?{ticked}"), cookie).await;
    nowhere.says("no virtual account was chosen");

    let once = gui.once(&format!("/licenses/transfer?{ticked}&to={lab}"), cookie).await;
    let form = format!("once={once}&to={lab}&pool={default}-{license}&quantity=7&pool={default}-9&quantity=1");
    for _ in 0..2 {
        // A form that is sent twice is carried out once.
        let done = gui.post("/licenses/transfer", cookie, &form).await;
        done.says("1 of 2 done.");
        done.says("TEST 7 from Default to TEST2 Done");
        done.says("Not done there is no such license here.");
        assert_eq!((scene.purchased(*default), scene.purchased(*lab)), (33, 7));
    }
    let form = format!("to={lab}&pool={default}-{license}&quantity=some");
    gui.post("/licenses/transfer", cookie, &form).await.says("Not done the quantity is no whole number; it is `some`.");
    let form = format!("to={lab}&pool={default}-{license}&quantity=34");
    gui.post("/licenses/transfer", cookie, &form).await.says("34 cannot be moved.");

    let reader = scene.reader().await;
    let refused =
        gui.post("/licenses/transfer", &reader, &format!("to={lab}&pool={default}-{license}&quantity=1")).await;
    refused.says("0 of 1 done.");
    refused.says("you may not do this; your role is read-only");
    assert_eq!(scene.purchased(*lab), 7);
}

#[tokio::test]
async fn several_licenses_are_labelled_once_each() {
    let scene = Scene::new().await;
    let Scene { gui, cookie, default, lab, license } = &scene;
    let (other_va, other_license) = scene.other();
    let ticked = format!("pool={default}-{license}&pool={lab}-{license}&pool={other_va}-{other_license}");
    let plan = gui.get(&format!("/licenses/label?{ticked}&label=voice"), cookie).await;
    plan.says("TEST TEST It gets voice. OTHER OTHER It gets voice.");
    gui.get(&format!("/licenses/label?{ticked}"), cookie).await.says("no label was given");
    let form = format!("label=voice&pool={default}-{license}&pool={other_va}-{other_license}");
    let done = gui.post("/licenses/label", cookie, &form).await;
    done.says("2 of 2 done.");
    let state = gui.ledger.state();
    assert_eq!(
        (&state.license(*license).unwrap().labels, &state.license(other_license).unwrap().labels),
        (&vec!["voice".to_owned()], &vec!["voice".to_owned()])
    );
    gui.get(&format!("/licenses/label?{ticked}&label=voice"), cookie).await.says("It has that already.");
}

#[tokio::test]
async fn several_product_instances_are_transferred_after_a_look_at_each() {
    let scene = Scene::new().await;
    let Scene { gui, cookie, default, lab, .. } = &scene;
    let ids: Vec<u64> = gui.ledger.state().instances_of(*lab, None).map(|i| i.id.0).collect();
    let other = gui.ledger.state().instances(None).find(|i| i.va != *lab).unwrap().id;
    let ticked = format!("id={}&id={}&id={other}&id=999999", ids[0], ids[1]);
    let plan = gui.get(&format!("/product-instances/transfer?{ticked}&to={default}"), cookie).await;
    plan.says("TEST / TEST2 It moves to Default with what it uses.");
    plan.says("OTHER / OTHER2 Not possible Virtual account &#34;Default&#34; belongs to another account.");
    plan.says("Not possible there is no such product instance here");
    plan.says("Transfer (2 of 4)");
    let once = gui.once(&format!("/product-instances/transfer?{ticked}&to={default}"), cookie).await;
    let form = format!("once={once}&to={default}&id={}&id={}&id={other}", ids[0], ids[1]);
    let done = gui.post("/product-instances/transfer", cookie, &form).await;
    done.says("2 of 3 done.");
    done.says("Not done there is no virtual account");
    assert_eq!(gui.ledger.state().instances_of(*default, None).count(), 2);
    gui.get(&format!("/product-instances/transfer?id={}&to={default}", ids[0]), cookie)
        .await
        .says("It is there already.");

    let user = User {
        virtual_accounts: vec![*default],
        ..User::new("ann".into(), Role::VirtualAccountAdministrator, weak_hash(PASSWORD), false)
    };
    gui.done(Command::CreateUser { user });
    let ann = gui.sign_in("ann", PASSWORD).await;
    let refused = gui.post("/product-instances/transfer", &ann, &format!("to={lab}&id={}", ids[0])).await;
    refused.says("0 of 1 done.");
    refused.says("no virtual account was chosen");
    let one = format!("/product-instances/{}", ids[0]);
    assert!(!gui.get(&one, &ann).await.0.body().contains("<option>TEST2</option>"));
    for to in ["TEST2", &format!("#{lab}"), "nowhere"] {
        let refused = gui.submit(&format!("{one}/transfer"), &ann, &[("to", to)]).await;
        assert!(refused.status().is_client_error(), "{to}: {}", refused.text());
    }
    assert_eq!(gui.ledger.state().instances_of(*default, None).count(), 2, "not to where she is nobody");
}

#[tokio::test]
async fn a_product_instance_tells_its_contacts_certificate_members_and_events() {
    let gui = Gui::new();
    gui.fill("TEST");
    let cookie = gui.sign_in("admin", PASSWORD).await;
    let page = async |serial: u8, days: u64, members: Vec<Device>| {
        let registered = gui.done(Command::Register {
            token_hash: [4; 32],
            udi: Udi { pid: "CALLS".into(), sn: format!("SN{serial}") },
            host_name: Some(format!("calls-{serial}")),
            product_type: "Calls".into(),
            software_version: "15".into(),
            certificate: IdCertificate {
                serial: [serial; 16],
                key_hash: [serial; 32],
                not_before: NOW,
                not_after: NOW.plus(days * Millis::DAY),
            },
            devices: members,
        });
        gui.get(&format!("/product-instances/{registered}"), &cookie).await
    };
    let plain = page(5, 365, vec![]).await;
    plain.says("Contacts In time Last Contact 2026-11-23 02:13 UTC Next contact at the latest 2026-12-23 02:13 UTC");
    plain.says("ID certificate Valid Serial number 05050505050505050505050505050505 Valid from 2026-11-23 02:13 UTC");
    plain.says("No licenses in use.");
    plain.says("calls-5 was registered as instance");
    assert!(!plain.text().contains("Cluster members"));
    let udi = Udi { pid: "CALLS".into(), sn: "SN8".into() };
    let member =
        |host_name: Option<&str>, udi: &Udi| Device { udi: udi.clone().into(), host_name: host_name.map(Into::into) };
    let cluster =
        page(6, 20, vec![member(Some("calls-8"), &udi), member(None, &Udi { sn: "SN9".into(), ..udi.clone() })]).await;
    cluster.says("ID certificate Ends soon");
    cluster
        .says("Cluster members Device Product id Serial number calls-6 registered for all CALLS SN6 calls-8 CALLS SN8");
    cluster.says("Name not shared CALLS SN9");
    let user = gui.ledger.state().instances(None).find(|i| !i.usage.is_empty()).unwrap().id;
    let used = gui.get(&format!("/product-instances/{user}"), &cookie).await;
    used.says("TEST regid.base 17 Out of Compliance");
    used.says("now uses 17 of");
    used.says("May enforce from 2027-02-21");
}

/// As [`Gui::fill`], with licenses of which the better ones cover the lesser.
fn substituting() -> (Gui, LicenseId) {
    let gui = Gui::new();
    gui.fill("TEST");
    let account = gui.ledger.state().account_by_name("TEST").unwrap().id;
    let entitlement = |tag: &str, quantity, covered_by: &[&str]| Entitlement {
        tag: tag.into(),
        name: tag.to_uppercase(),
        export_controlled: false,
        terms: vec![Term { quantity, start: Millis(0), end: None, billing: Billing::Prepaid }],
        covered_by: covered_by.iter().map(|tag| (*tag).to_owned()).collect(),
    };
    let entitlements = vec![
        entitlement("regid.base", 10, &["better"]),
        entitlement("better", 4, &["best"]),
        entitlement("best", 50, &[]),
    ];
    gui.done(Command::CompleteSync { account, seq: 1, entitlements, response: [2; 32], signed: None });
    let state = gui.ledger.state();
    let va = state.virtual_account_by_name(account, "TEST2").unwrap().id;
    let default = state.account(account).unwrap().default_va;
    let id = |tag| state.license_by_tag(account, tag).unwrap().id;
    for (tag, quantity) in [("regid.base", 10), ("better", 4), ("best", 15)] {
        gui.done(Command::TransferLicense { license: id(tag), from: default, to: va, quantity });
    }
    (gui, id("regid.base"))
}

#[tokio::test]
async fn a_license_tells_its_history_and_a_substitution_that_adds_up() {
    let (gui, license) = substituting();
    let cookie = gui.sign_in("admin", PASSWORD).await;
    gui.submit(&format!("/licenses/{license}/labels"), &cookie, &[("add", "voice")]).await;
    let page = gui.get(&format!("/licenses/{license}"), &cookie).await;
    page.says("What lacks of it is covered by spare ones of BETTER.");
    page.says("In TEST2 License Purchased \u{2212} In Use + Borrowed \u{2212} Lent = Balance");
    // 34 are used of 10: 4 come from the next tier, 15 from the one above, 5 lack.
    page.says("REGID.BASE 10 34 19 0 -5 BETTER 4 0 0 4 0 BEST 15 0 0 15 0");
    page.says(
        "REGID.BASE lacked 24, BETTER had 4 to spare: 4 of BETTER cover REGID.BASE. Rule: REGID.BASE \u{2192} BETTER",
    );
    page.says("REGID.BASE lacked 20, BEST had 15 to spare: 15 of BEST cover REGID.BASE. Rule: REGID.BASE \u{2192} BETTER \u{2192} BEST");
    let account = gui.ledger.state().license(license).unwrap().account;
    let best = gui.ledger.state().license_by_tag(account, "best").unwrap().id;
    gui.get(&format!("/licenses/{best}"), &cookie).await.says("Its spare ones cover BETTER.");

    page.says("The labels of &#34;REGID.BASE&#34; are voice. license-labelled admin");
    page.says("10 of &#34;REGID.BASE&#34; moved from &#34;Default&#34; to &#34;TEST2&#34;. license-transferred test");
    page.says("now uses 17 of &#34;TEST&#34;. usage-changed test");
    page.says("Insufficient Licenses raised: Virtual account &#34;TEST2&#34; uses 5 more of");
    // Its cause gone, the alert is told twice: when it came and when it went.
    for instance in gui.ledger.state().instances(None) {
        gui.submit(&format!("/product-instances/{}/remove", instance.id), &cookie, &[]).await;
    }
    let page = gui.get(&format!("/licenses/{license}"), &cookie).await;
    page.says("Insufficient Licenses cleared:");
    page.says("Nothing is lent now.");
}

#[tokio::test]
async fn activity_tells_who_did_what_where_one_may_look() {
    let scene = Scene::new().await;
    let Scene { gui, cookie, default, lab, license } = &scene;
    let form = format!("to={lab}&pool={default}-{license}&quantity=7");
    gui.post("/licenses/transfer", cookie, &form).await;
    gui.submit(&format!("/inventory/{lab}/tokens"), cookie, &[]).await;
    let all = gui.get("/activity", cookie).await;
    all.says("Time Kind What Account By");
    all.says(
        "Licenses 7 of &#34;TEST&#34; moved from &#34;Default&#34; to &#34;TEST2&#34;. license-transferred TEST admin",
    );
    all.says("Synchronization Synchronization 1 was successful. synchronized OTHER test");
    assert!(!all.text().contains("account-requested"), "accounts have their own log");
    let state = gui.ledger.state();
    let account = state.account_by_name("TEST").unwrap().id;
    for (query, has, lacks) in [
        ("kind=token", "token-created", "license-transferred"),
        ("kind=license&by=ADMIN", "license-transferred", "token-created"),
        ("by=nobody", "Nothing was done that matches.", "token-created"),
        ("q=moved+from", "license-transferred", "usage-changed"),
        (&format!("account={account}"), "TEST2", "OTHER2"),
    ] {
        let found = gui.get(&format!("/activity?{query}"), cookie).await;
        found.says(has);
        let rows = found.0.body().split("<tbody>").nth(1).unwrap_or_default();
        assert!(!rows.contains(lacks), "{query}: {lacks}");
    }
    let csv = gui.get("/activity.csv?kind=license&by=admin", cookie).await;
    assert_eq!(
        csv.0.body(),
        "Time,Kind,Event,Account,By,What\r\n2026-11-23T02:13:20Z,Licenses,license-transferred,TEST,admin,\"7 of \"\"TEST\"\" \
         moved from \"\"Default\"\" to \"\"TEST2\"\".\"\r\n"
    );

    let user = User {
        virtual_accounts: vec![*lab],
        ..User::new("ann".into(), Role::VirtualAccountAdministrator, weak_hash(PASSWORD), false)
    };
    gui.done(Command::CreateUser { user });
    let ann = gui.sign_in("ann", PASSWORD).await;
    let own = gui.get("/activity", &ann).await;
    own.says("token-created TEST admin");
    assert!(!own.text().contains("license-transferred"), "the other virtual account is not hers");
    assert!(!own.text().contains("OTHER") && !gui.get("/activity.csv", &ann).await.0.body().contains("OTHER"));
}

#[tokio::test]
async fn the_audit_log_tells_what_the_event_log_forgot_to_those_who_may_read_it() {
    let scene = Scene::new().await;
    let Scene { gui, cookie, default, lab, license } = &scene;
    gui.post("/licenses/transfer", cookie, &format!("to={lab}&pool={default}-{license}&quantity=7")).await;
    let events = |gui: &Gui| gui.ledger.state().events(0).filter(|e| e.kind == "license-transferred").count();
    for _ in 0..MAX_EVENTS {
        let event = NewEvent { severity: Severity::Minor, account: None, kind: "noise".into(), message: "x".into() };
        gui.ledger.carry_out_at(NOW.plus(1), 0, "test", Command::NoteEvent { event });
    }
    assert_eq!(events(gui), 0);
    gui.get("/activity?q=license-transfer", cookie).await.says("7 of regid.base from TEST/Default to TEST/TEST2");
    let reader = scene.reader().await;
    assert!(!gui.get("/activity", &reader).await.text().contains("regid.base from"));
}

#[tokio::test]
async fn preferences_are_set_and_each_has_its_effect() {
    let gui = Gui::new();
    gui.fill("TEST");
    for n in 0..30_u64 {
        let account = gui.ledger.state().account_by_name("TEST").unwrap().id;
        gui.done(Command::CreateVirtualAccount { account, name: format!("VA {n}") });
    }
    let cookie = gui.sign_in("admin", PASSWORD).await;
    let form = gui.get("/preferences", &cookie).await;
    form.says("Rows of one page of a list 25 50 100 250 Page after signing in Licensing Administration");
    assert!(
        form.0.body().contains("<option selected>50</option>")
            && form.0.body().contains("<option>Asia/Kolkata</option>")
    );
    let before = gui.get("/event-log", &cookie).await;
    before.says("Showing Page 1 of 1");
    before.says("2026-11-23 02:13 UTC");
    assert!(!before.0.body().contains("data-still"));

    let fields = [("rows", "25"), ("start", "administration"), ("zone", "Asia/Kolkata")];
    let set = gui.submit("/preferences", &cookie, &fields).await;
    assert_eq!(set.header(LOCATION), "/preferences?done=preferences-set", "{}", set.text());
    let kept = gui.ledger.state().user("admin").unwrap().preferences.clone();
    let wanted =
        Preferences { rows: 25, start: StartPage::Administration, time_zone: "Asia/Kolkata".into(), live: false };
    assert_eq!(kept, wanted);
    let after = gui.get("/event-log", &cookie).await;
    after.says("Showing Page 1 of 2");
    after.says("2026-11-23 07:43 IST");
    assert!(after.0.body().contains(r#"<time datetime="2026-11-23T02:13:20Z">2026-11-23 07:43 IST</time>"#));
    assert!(after.0.body().contains(" data-still"), "no live updates");
    // Lists that are made on another thread, too.
    gui.get("/product-instances", &cookie).await.says("2026-11-23 07:43 IST");
    gui.get("/preferences?done=preferences-set", &cookie).await.says("Your preferences are set.");

    let again = gui.try_sign_in("admin", PASSWORD).await;
    assert_eq!(again.header(LOCATION), "/administration");
    assert_eq!(gui.get("/sign-in", &cookie).await.header(LOCATION), "/administration");
    let asked = gui.post("/sign-in", "", "name=admin&password=four+unrelated+words&next=%2Flicenses").await;
    assert_eq!(asked.header(LOCATION), "/licenses", "what was asked for comes first");

    for (field, value, why) in [
        ("zone", "Europe/Nowhere", "there is no time zone `Europe/Nowhere`"),
        ("rows", "51", "A page of a list has one of 25, 50, 100, 250 rows, not 51."),
        ("rows", "", "no number of rows was chosen"),
        ("start", "elsewhere", "there is no workspace `elsewhere`"),
    ] {
        let fields: Vec<_> = fields.iter().map(|(f, v)| (*f, if *f == field { value } else { *v })).collect();
        let refused = gui.submit("/preferences", &cookie, &fields).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{value}");
        refused.says(why);
    }
    assert_eq!(gui.ledger.state().user("admin").unwrap().preferences, wanted);

    // Whoever only looks sets their own, and has no choice of workspaces without a second one.
    let default = gui.ledger.state().account_by_name("TEST").unwrap().default_va;
    let user = User {
        virtual_accounts: vec![default],
        ..User::new("ann".into(), Role::VirtualAccountAdministrator, weak_hash(PASSWORD), false)
    };
    gui.done(Command::CreateUser { user });
    let ann = gui.sign_in("ann", PASSWORD).await;
    assert!(!gui.get("/preferences", &ann).await.text().contains("Page after signing in"));
    let set = gui.submit("/preferences", &ann, &[("rows", "250"), ("live", "yes")]).await;
    assert_eq!(set.status(), StatusCode::SEE_OTHER);
    let kept = gui.ledger.state().user("ann").unwrap().preferences.clone();
    assert_eq!(kept, Preferences { rows: 250, ..Preferences::INITIAL });
    assert_eq!(gui.ledger.state().user("admin").unwrap().preferences, wanted, "nobody else's");
}
