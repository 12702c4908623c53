//! Usage reaches central exactly once, whatever is lost: a random schedule of requests and answers that get lost or come
//! late, files and network, and nodes that die and are followed by another in the middle.

use super::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const STEPS: usize = 240;
const ACCOUNTS: [&str; 3] = ["TEST", "SECOND", "THIRD"];

/// What the way to central does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Open,
    /// Nothing arrives.
    Shut,
    /// What was asked arrives; the answer does not come back.
    Deaf,
}

/// More bytes than a TLS handshake of the client has, fewer than that and a document: with them the request is on its way.
const HANDSHAKE: usize = 900;

/// A relay before central. It cuts connections as told; gives its address.
async fn relay(central: watch::Receiver<String>, way: watch::Receiver<Way>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (to, way) = (central.borrow().trim_start_matches("https://").to_owned(), *way.borrow());
            tokio::spawn(async move {
                if way != Way::Shut
                    && let Ok(server) = TcpStream::connect(to).await
                {
                    carry(client, server, way == Way::Deaf).await;
                }
            });
        }
    });
    url
}

/// Carries bytes both ways; with `cut` none to the client once its request is on the way, until the server is done.
async fn carry(mut client: TcpStream, mut server: TcpStream, cut: bool) {
    let (mut sent, mut up, mut down) = (0, vec![0; 16_384], vec![0; 16_384]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => match read {
                Ok(count) if count > 0 => {
                    sent += count;
                    if server.write_all(&up[..count]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
            read = server.read(&mut down) => match read {
                Ok(count) if count > 0 => {
                    // The answer is here, so central has taken the request: that is where the way breaks.
                    if cut && sent > HANDSHAKE {
                        return;
                    }
                    if client.write_all(&down[..count]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}

/// By number: the usage by tag, and how many product instances.
type Reports = BTreeMap<u64, (Vec<(String, u64)>, u64)>;

/// What was frozen for an account, and what central was seen to take.
#[derive(Default)]
struct Book {
    frozen: Reports,
    taken: Reports,
}

struct Play {
    scene: Scene,
    accounts: Vec<(&'static str, AccountId)>,
    products: Vec<InstanceId>,
    books: BTreeMap<AccountId, Book>,
    number: u64,
    /// Answers that were lost and may come late, as files.
    late: Vec<Vec<u8>>,
    rng: StdRng,
    central: watch::Sender<String>,
    way: watch::Sender<Way>,
    /// How often each thing happened.
    met: BTreeMap<&'static str, u64>,
}

impl Play {
    async fn new(seed: u64) -> Self {
        let scene = Scene::new().await;
        let mut accounts = vec![("TEST", scene.account)];
        for name in &ACCOUNTS[1..] {
            let account = request_account(&scene.ledger, name, name);
            scene.node.approve_account(account, "admin").await.unwrap();
            accounts.push((name, account));
        }
        let (central, to) = watch::channel(scene.central.url());
        let (way, how) = watch::channel(Way::Open);
        for name in &ACCOUNTS[1..] {
            let AdminRequest::Entitle(base) = entitlement("BASE", 7) else { panic!() };
            scene.central.ask(AdminRequest::Entitle(Entitle { virtual_account: (*name).into(), ..base })).await;
        }
        for (_, account) in &accounts {
            scene.node.synchronize(*account, "admin").await.unwrap();
        }
        point_at(&scene.ledger, &relay(to, how).await);
        let products = accounts.iter().enumerate().map(|(n, (_, account))| {
            let va = scene.ledger.state().account(*account).unwrap().default_va;
            product(&scene.ledger, va, n as u8 + 1)
        });
        let (products, books) = (products.collect(), BTreeMap::new());
        let (rng, late, met) = (StdRng::seed_from_u64(seed), Vec::new(), BTreeMap::new());
        let mut play = Self { scene, accounts, products, books, number: 0, late, rng, central, way, met };
        play.look().await;
        play
    }

    fn met(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }

    /// Notes what is frozen on the server and what central has.
    async fn look(&mut self) {
        for (account, begun) in std::mem::take(&mut *self.scene.ledger.begun.lock()) {
            let usage = begun.usage.into_iter().map(|(tag, in_use, _)| (tag, in_use)).collect();
            let frozen = (usage, begun.instances);
            let book = self.books.entry(account).or_default();
            let first = book.frozen.entry(begun.seq).or_insert_with(|| frozen.clone());
            assert_eq!(*first, frozen, "what was frozen for account {account}, {}, has changed", begun.seq);
        }
        let rows = self.scene.central.servers().await;
        let AdminReply::Accounts(listed) = self.scene.central.ask(AdminRequest::ListAccounts).await else { panic!() };
        for (name, account) in &self.accounts {
            let book = self.books.entry(*account).or_default();
            let row = rows.iter().find(|row| row.account.as_deref() == Some(name)).unwrap();
            let usage = &listed.iter().find(|row| row.account.as_deref() == Some(name)).unwrap().usage;
            let has = (usage.iter().map(|u| (u.tag.clone(), u.in_use)).collect(), row.instances);
            let last = book.taken.last_key_value().map_or(1, |(seq, _)| *seq);
            assert!(row.seq == last || row.seq == last + 1, "{name}: central has {}, after {last}", row.seq);
            let first = book.taken.entry(row.seq).or_insert_with(|| has.clone());
            assert_eq!(*first, has, "central has two reports of {name} {}", row.seq);
        }
    }

    /// A product uses another count from now on.
    fn use_some(&mut self, product: usize) {
        self.number += 1;
        let (instance, number) = (self.products[product], self.number);
        let action = InstanceAction::Authorize { usage: vec![("BASE".into(), self.rng.random_range(0..20))] };
        self.scene.ledger.must(Command::Numbered { instance, number, digest: [number as u8; 32], action });
    }

    fn node(&self, ledger: &Arc<Memory>) -> Upstream {
        node(ledger, &self.scene.sealer, self.scene.central.root())
    }

    /// Over the network, by a node that may die at any of its steps, on a way that may lose things.
    async fn by_network(&mut self, account: AccountId) {
        let way = [Way::Open, Way::Shut, Way::Deaf, Way::Deaf][self.rng.random_range(0..4)];
        self.way.send_replace(way);
        let dies = self.rng.random_range(0..3) == 0;
        let ledger = match dies {
            true => self.scene.ledger.dying(self.rng.random_range(0..3), self.rng.random_range(0..2) == 0),
            false => self.scene.ledger.clone(),
        };
        let result = self.node(&ledger).synchronize(account, "admin").await;
        if dies {
            // What it had committed is what the next one sees.
            *self.scene.ledger.state.write() = ledger.state();
        }
        self.way.send_replace(Way::Open);
        self.met(match (way, &result, dies) {
            (_, Ok(_), false) => "synchronized",
            (_, Ok(_), true) => "synchronized by a node that dies later",
            (_, Err(_), true) => "a node died",
            (Way::Deaf, Err(_), false) => "an answer was lost",
            (_, Err(_), false) => "a request was lost",
        });
        assert!(way != Way::Open || dies || result.is_ok(), "{result:?}");
    }

    /// By files: exported by one node, and what comes back imported by another one, or not.
    async fn by_file(&mut self, account: AccountId) {
        let asked = self.node(&self.scene.ledger).request(account, "admin").await.unwrap();
        self.look().await;
        if self.rng.random_range(0..4) == 0 {
            return self.met("a file was not carried");
        }
        let response = self.scene.central.post(&asked.document).await.unwrap();
        self.look().await;
        if self.rng.random_range(0..3) == 0 {
            self.late.push(response);
            return self.met("a file was not brought back");
        }
        let other = self.node(&self.scene.ledger);
        other.import(&response, true, "admin").await.unwrap();
        other.import(&response, false, "admin").await.unwrap();
        other.import(&response, false, "admin").await.unwrap_err();
        assert_eq!(self.scene.central.post(&asked.document).await.unwrap(), response, "asked again, answered the same");
        self.late.push(response);
        self.met("a file came and went");
    }

    /// An answer that was given up comes after all: taken if it is to what is outstanding, else refused.
    async fn late(&mut self) {
        if self.late.is_empty() {
            return;
        }
        let response = self.late.remove(self.rng.random_range(0..self.late.len()));
        let before = self.scene.ledger.state();
        let taken = self.node(&self.scene.ledger).import(&response, false, "admin").await;
        if taken.is_err() {
            assert_eq!(*before, *self.scene.ledger.state(), "a refused answer changed something");
        }
        self.met(if taken.is_ok() { "a late answer was taken" } else { "a late answer was refused" });
    }

    async fn step(&mut self) {
        let n = self.rng.random_range(0..self.accounts.len());
        let account = self.accounts[n].1;
        match self.rng.random_range(0..20) {
            0..6 => self.use_some(n),
            6..13 => self.by_network(account).await,
            13..17 => self.by_file(account).await,
            17..19 => self.late().await,
            _ => {
                self.scene.central.stop().await;
                self.scene.central.serve().await;
                self.central.send_replace(self.scene.central.url());
                self.met("central was restarted");
            }
        }
        self.look().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_reaches_central_exactly_once_through_losses_and_failovers() {
    let mut play = Play::new(5).await;
    for _ in 0..STEPS {
        play.step().await;
    }
    // All is well again: what is outstanding goes through, and then once more what is used now.
    for _ in 0..2 {
        for (_, account) in play.accounts.clone() {
            play.node(&play.scene.ledger).begin_sync(account, "admin").await.unwrap();
            play.look().await;
            play.node(&play.scene.ledger).synchronize(account, "admin").await.unwrap();
            play.look().await;
        }
    }
    let total =
        |reports: &Reports| -> u64 { reports.values().flat_map(|(usage, _)| usage).map(|(_, in_use)| in_use).sum() };
    for (name, account) in &play.accounts {
        let (book, state) = (&play.books[account], play.scene.ledger.state());
        let last = state.account(*account).unwrap().sync.seq;
        let numbers: Vec<u64> = book.taken.keys().copied().collect();
        assert_eq!(numbers, (1..=last).collect::<Vec<_>>(), "{name}: each number once");
        assert!(last > 8, "{name} hardly synchronized: {last}");
        assert_eq!(book.taken, book.frozen, "{name}: what central has is not what was frozen");
        assert_eq!(total(&book.taken), total(&book.frozen), "{name}");
        assert!(total(&book.taken) > 20, "{name} hardly used anything");
    }
    for what in [
        "synchronized",
        "a node died",
        "an answer was lost",
        "a request was lost",
        "a file was not carried",
        "a file was not brought back",
        "a file came and went",
        "a late answer was taken",
        "a late answer was refused",
        "central was restarted",
    ] {
        assert!(play.met.get(what).is_some_and(|count| *count >= 2), "{what} was hardly met: {:?}", play.met);
    }
    assert!(!play.scene.central.event_kinds().await.contains(&"fork-refused".to_owned()));
    assert_eq!(play.scene.ledger.state().check(), Vec::<String>::new());
}
