use super::*;
use parking_lot::Mutex;

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 12));

/// The kernel, the listeners and the lease of a node.
#[derive(Default)]
struct Host {
    lease: Option<Instant>,
    on: Vec<IpAddr>,
    listening: Option<CancellationToken>,
    raised: usize,
    renewed: usize,
    announced: usize,
    /// Why nothing works, if so.
    broken: Option<String>,
    findings: Vec<Finding>,
}

#[derive(Clone, Default)]
struct Node(Arc<Mutex<Host>>);

impl Guard for Node {
    fn serving_until(&self) -> Option<Instant> {
        self.0.lock().lease.filter(|until| *until > Instant::now())
    }
}

impl Stage for Node {
    fn open(&self, _: &[IpAddr], stop: CancellationToken) -> io::Result<()> {
        self.0.lock().listening = Some(stop);
        Ok(())
    }
}

impl Host {
    fn works(&self) -> io::Result<()> {
        self.broken.as_ref().map_or(Ok(()), |why| Err(io::Error::other(why.clone())))
    }

    fn listens(&self) -> bool {
        self.listening.as_ref().is_some_and(|stop| !stop.is_cancelled())
    }
}

impl Driver for Node {
    fn raise(&mut self, addresses: &[IpAddr], _: &dyn Fn() -> bool) -> io::Result<()> {
        let mut host = self.0.lock();
        host.raised += 1;
        host.works()?;
        host.on = addresses.to_vec();
        Ok(())
    }

    fn renew(&mut self, _: &[IpAddr]) -> io::Result<()> {
        self.0.lock().renewed += 1;
        self.0.lock().works()
    }

    fn lower(&mut self, _: &[IpAddr]) -> io::Result<()> {
        let mut host = self.0.lock();
        assert!(!host.listens(), "the address goes while something listens on it");
        host.on.clear();
        Ok(())
    }

    fn announce(&mut self, _: &[IpAddr]) -> io::Result<()> {
        self.0.lock().announced += 1;
        Ok(())
    }

    fn check(&mut self) -> io::Result<()> {
        self.0.lock().works()
    }

    fn sweep(&mut self, addresses: &[IpAddr]) -> io::Result<()> {
        let mut host = self.0.lock();
        let strays = host.on.extract_if(.., |address| addresses.contains(address)).map(Finding::Stray);
        let strays: Vec<Finding> = strays.collect();
        host.findings.extend(strays);
        Ok(())
    }

    fn findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.0.lock().findings)
    }
}

/// A holder at work on a node.
struct Held {
    node: Node,
    seen: watch::Receiver<Holding>,
    findings: mpsc::UnboundedReceiver<Finding>,
    stop: CancellationToken,
    end: oneshot::Receiver<()>,
    _addresses: watch::Sender<Vec<IpAddr>>,
}

impl Held {
    fn start() -> Self {
        let node = Node::default();
        let (_addresses, addresses) = watch::channel(vec![ADDRESS]);
        let (report, seen) = watch::channel(Holding::default());
        let (sender, findings) = mpsc::unbounded_channel();
        let (guard, stage) = (Arc::new(node.clone()), Arc::new(node.clone()));
        let stop = CancellationToken::new();
        let holder = Holder { guard, stage, addresses, report, findings: sender, stop: stop.clone() };
        let end = hold(holder, Box::new(node.clone()), Handle::current()).unwrap();
        Self { node, seen, findings, stop, end, _addresses }
    }

    fn lease(&self, millis: u64) {
        self.node.0.lock().lease = Some(Instant::now() + Duration::from_millis(millis));
    }

    async fn until(&self, what: &str, is: impl Fn(&Host) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is(&self.node.0.lock()) {
            assert!(Instant::now() < deadline, "never: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test]
async fn the_address_follows_the_lease_and_ends_with_the_holder() {
    let held = Held::start();
    held.lease(300);
    held.until("held", |host| host.on == [ADDRESS] && host.listens()).await;
    // Nobody renews the lease: the address goes by itself.
    held.until("given up at the end of the lease", |host| host.on.is_empty() && !host.listens()).await;
    held.lease(60_000);
    held.until("held again", |host| host.listens()).await;
    held.stop.cancel();
    held.end.await.unwrap();
    assert!(held.node.0.lock().on.is_empty() && !held.node.0.lock().listens());
    assert_eq!(*held.seen.borrow(), Holding::default());
}

#[tokio::test]
async fn a_lifetime_is_renewed_only_on_a_newer_lease() {
    let held = Held::start();
    held.lease(60_000);
    // These announcements take longer than several renewals would.
    held.until("announced for half a second", |host| host.announced >= 6).await;
    assert_eq!(held.node.0.lock().renewed, 0, "renewed without a new acknowledgement");
    held.lease(60_000);
    held.until("renewed", |host| host.renewed == 1).await;
}

#[tokio::test]
async fn a_driver_that_fails_is_tried_again_and_its_reason_is_told() {
    let mut held = Held::start();
    held.node.0.lock().broken = Some("the interface is down".into());
    held.lease(60_000);
    held.until("tried three times", |host| host.raised >= 3).await;
    let trouble = held.seen.wait_for(|seen| seen.trouble.is_some()).await.unwrap().clone();
    assert_eq!((trouble.held.len(), trouble.trouble.as_deref()), (0, Some("the interface is down")));
    held.node.0.lock().broken = None;
    let holding = held.seen.wait_for(|seen| !seen.held.is_empty()).await.unwrap().clone();
    assert_eq!(holding.trouble, None);
    // What fails while it is held ends it, the listeners first.
    held.node.0.lock().broken = Some("the interface is down".into());
    held.lease(70_000);
    held.until("given up", |host| host.on.is_empty() && !host.listens()).await;
    held.seen.wait_for(|seen| seen.trouble.is_some()).await.unwrap();
}

#[tokio::test]
async fn a_stray_is_removed_and_a_stranger_is_answered() {
    let mut held = Held::start();
    held.node.0.lock().on = vec![ADDRESS];
    assert_eq!(held.findings.recv().await, Some(Finding::Stray(ADDRESS)));
    assert!(held.node.0.lock().on.is_empty());
    held.lease(60_000);
    held.until("told everybody", |host| host.announced == ANNOUNCE_AFTER_MS.len()).await;
    let stranger = Finding::Stranger { address: ADDRESS, hardware: "02:00:00:00:00:01".into() };
    held.node.0.lock().findings.push(stranger.clone());
    assert_eq!(held.findings.recv().await, Some(stranger));
    held.until("told again", |host| host.announced == ANNOUNCE_AFTER_MS.len() + 1).await;
    assert_eq!(held.node.0.lock().on, [ADDRESS], "gave way to a stranger");
}

#[tokio::test]
async fn an_answer_of_the_former_holder_is_no_stranger() {
    let mut held = Held::start();
    held.lease(60_000);
    held.until("held", Host::listens).await;
    let former = Finding::Stranger { address: ADDRESS, hardware: "02:00:00:00:00:01".into() };
    held.node.0.lock().findings.push(former);
    held.until("read", |host| host.findings.is_empty()).await;
    held.stop.cancel();
    held.end.await.unwrap();
    assert_eq!(held.findings.recv().await, None);
}
