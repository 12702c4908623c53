//! Servers that were not heard of for 90 days.

use super::*;

/// Central without its network, under a clock that the test moves.
struct Quiet {
    _dir: tempfile::TempDir,
    service: Service,
    ledger: Arc<Memory>,
    node: Upstream,
    account: AccountId,
}

impl Quiet {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("central");
        let ledger = server(SERVER, "");
        let service = Service::create(&home, "Test", None, &operator(), ledger.clock()).unwrap();
        stock(&service);
        let root = VendorRoot::from_file(&home.join("vendor-root.pem")).unwrap();
        let node = node(&ledger, &Sealer::generate(), root);
        let account = request_account(&ledger, "TEST", "Default");
        Self { _dir: dir, service, ledger, node, account }
    }

    async fn approved(self) -> Self {
        let error = self.node.approve_account(self.account, "admin").await.unwrap_err();
        assert!(matches!(error, UpstreamError::NoCentral), "{error}");
        self.exchange(self.account).await.unwrap();
        self
    }

    /// By files.
    async fn exchange(&self, account: AccountId) -> Result<(), String> {
        let request = self.node.request(account, "admin").await.unwrap();
        let response = self.service.answer(&request.document).map_err(|e| e.to_string())?;
        self.node.import(&response, false, "admin").await.unwrap();
        Ok(())
    }

    fn pass(&self, ms: u64) {
        self.ledger.ahead.fetch_add(ms, Ordering::SeqCst);
    }

    fn ask(&self, request: AdminRequest) -> AdminReply {
        self.service.admin(&operator(), request).unwrap()
    }

    fn status(&self) -> String {
        match self.ask(AdminRequest::ListServers { closed: false }) {
            AdminReply::Servers(rows) => rows[0].status.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn events(&self, kind: &str) -> usize {
        let AdminReply::Events(events) = self.ask(AdminRequest::Events) else { panic!() };
        events.iter().filter(|event| event.kind == kind).count()
    }
}

#[tokio::test]
async fn a_silent_server_is_dropped_until_it_is_readopted() {
    let quiet = Quiet::new().approved().await;
    quiet.exchange(quiet.account).await.unwrap();
    // Just heard of in time.
    quiet.pass(90 * Millis::DAY - Millis::MINUTE);
    assert_eq!(quiet.status(), "active");
    quiet.exchange(quiet.account).await.unwrap();
    quiet.pass(90 * Millis::DAY);
    assert_eq!(quiet.status(), "silent");

    for _ in 0..2 {
        let refused = quiet.exchange(quiet.account).await.unwrap_err();
        assert!(refused.contains("silent for 90 days"), "{refused}");
        assert!(refused.contains(&format!("licraft central server readopt {SERVER}")), "{refused}");
        assert!(refused.len() <= MAX_TEXT, "it would be cut off in the server's record: {refused}");
    }
    let second = request_account(&quiet.ledger, "SECOND", "Lab");
    quiet.node.approve_account(second, "admin").await.unwrap_err();
    let refused = quiet.exchange(second).await.unwrap_err();
    assert!(refused.contains("silent"), "nor does a new account help: {refused}");
    assert_eq!(quiet.events("server-silent"), 1);

    let AdminReply::Done(said) = quiet.ask(AdminRequest::Readopt { server: SERVER.into() }) else { panic!() };
    assert!(said.contains("taken back after its silence"), "{said}");
    assert_eq!(quiet.status(), "active");
    quiet.exchange(quiet.account).await.unwrap();
    quiet.exchange(second).await.unwrap();
    // The next silence counts anew, and is told anew.
    quiet.pass(90 * Millis::DAY);
    quiet.exchange(quiet.account).await.unwrap_err();
    assert_eq!(quiet.events("server-silent"), 2);
}

#[tokio::test]
async fn a_readopted_server_that_stays_silent_is_dropped_again() {
    let quiet = Quiet::new().approved().await;
    quiet.pass(100 * Millis::DAY);
    quiet.ask(AdminRequest::Readopt { server: SERVER.into() });
    assert_eq!(quiet.status(), "active");
    quiet.pass(89 * Millis::DAY);
    assert_eq!(quiet.status(), "active");
    quiet.pass(Millis::DAY);
    assert_eq!(quiet.status(), "silent");
    let nothing = quiet.service.admin(&operator(), AdminRequest::Readopt { server: SERVER.into() });
    nothing.unwrap();
    let error = quiet.service.admin(&operator(), AdminRequest::Readopt { server: SERVER.into() }).unwrap_err();
    assert!(error.to_string().contains("nothing to re-adopt"), "{error}");
}
