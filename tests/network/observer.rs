//! Looks all the time at who has the address, and at who serves.

use super::cluster::{Cluster, VIP, until};
use super::lab::Host;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks at the address, and between two questions to one node.
const PACE: Duration = Duration::from_millis(20);
/// How many looks say something. It looks on that often, however soon the test is through.
const ENOUGH: usize = 20;

/// Watches until it is asked for what it saw.
pub struct Observer {
    stop: Arc<AtomicBool>,
    looked: Arc<AtomicUsize>,
    looking: Option<JoinHandle<Vec<Look>>>,
    asking: Vec<JoinHandle<Vec<Answer>>>,
}

/// Who had the address at one look. A node counts when it had it before and after the other was looked at, so that a
/// move between two looks is no double.
struct Look {
    both: bool,
    at: Instant,
}

/// A node's answer that it serves, given at some time between these two.
struct Answer {
    node: &'static str,
    asked: Instant,
    came: Instant,
}

/// What was seen.
#[derive(Debug)]
pub struct Seen {
    pub looks: usize,
    /// The longest time over which both kernels had the address at every look.
    pub longest_double: Duration,
    /// Who answered that it serves, in order. Two nodes that serve at a time appear again and again.
    pub served: Vec<&'static str>,
}

impl Observer {
    pub fn start(cluster: &Cluster) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let serving = Arc::new(AtomicBool::new(false));
        let nodes: Vec<Host> = cluster.data_nodes().into_iter().map(|node| cluster.host(node)).collect();
        let looked = Arc::new(AtomicUsize::new(0));
        let (stopped, count) = (stop.clone(), looked.clone());
        let looking = std::thread::spawn(move || look(&nodes, &stopped, &count));
        let asking: Vec<_> = cluster
            .data_nodes()
            .into_iter()
            .map(|node| {
                let address = cluster.host(node).address().to_string();
                let question = cluster.question(&address, "0.5");
                let (stopped, serving) = (stop.clone(), serving.clone());
                std::thread::spawn(move || ask(node, question, &stopped, &serving))
            })
            .collect();
        // What the test does next must not come before the first answer.
        until("a node that serves", || serving.load(Ordering::Relaxed));
        Self { stop, looked, looking: Some(looking), asking }
    }

    pub fn end(mut self) -> Seen {
        until("enough looks", || self.looked.load(Ordering::Relaxed) > ENOUGH);
        self.stop.store(true, Ordering::Relaxed);
        let looks = self.looking.take().unwrap().join().unwrap();
        let (mut since, mut longest_double) = (None, Duration::ZERO);
        for look in &looks {
            since = if look.both { since.or(Some(look.at)) } else { None };
            longest_double = longest_double.max(since.map_or(Duration::ZERO, |since| look.at - since));
        }
        let answers = self.asking.drain(..).flat_map(|thread| thread.join().unwrap()).collect();
        Seen { looks: looks.len(), longest_double, served: in_order(answers) }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Seen {
    /// Nobody shared the address, and these nodes served, one after the other.
    pub fn one_by_one(&self, served: &[&str]) {
        assert!(self.looks > ENOUGH, "the observer saw too little: {self:?}");
        assert!(self.longest_double.is_zero(), "two live holders: {self:?}");
        assert_eq!(self.served, served, "who served, in order");
    }
}

fn look(nodes: &[Host], stop: &AtomicBool, looked: &AtomicUsize) -> Vec<Look> {
    let mut looks = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let holders = || nodes.iter().filter(|node| node.has(VIP)).collect::<Vec<_>>();
        // A look takes a while, so the address may have moved within one: of two holders each must have it twice.
        let first = holders();
        let both = first.len() > 1 && first.iter().filter(|node| node.has(VIP)).count() > 1;
        looks.push(Look { both, at: Instant::now() });
        looked.store(looks.len(), Ordering::Relaxed);
        std::thread::sleep(PACE);
    }
    looks
}

fn ask(node: &'static str, mut question: Command, stop: &AtomicBool, serving: &AtomicBool) -> Vec<Answer> {
    let mut answers = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let output = question.output().expect("curl is needed");
        if output.stdout == b"200" {
            answers.push(Answer { node, asked, came: Instant::now() });
            serving.store(true, Ordering::Relaxed);
        }
        std::thread::sleep(PACE);
    }
    answers
}

/// The nodes by when they served. An answer that may be as old as the last one of the other node decides nothing.
fn in_order(mut answers: Vec<Answer>) -> Vec<&'static str> {
    answers.sort_by_key(|answer| answer.came);
    let mut served: Vec<(&str, Instant)> = Vec::new();
    for Answer { node, asked, came } in answers {
        match served.last_mut() {
            Some((last, until)) if *last == node => *until = came,
            Some((_, until)) if asked < *until => {}
            _ => served.push((node, came)),
        }
    }
    served.into_iter().map(|(node, _)| node).collect()
}

#[test]
fn nodes_that_serve_at_a_time_appear_again_and_again() {
    let start = Instant::now();
    let answer = |node, asked, came| {
        let at = |ms| start + Duration::from_millis(ms);
        Answer { node, asked: at(asked), came: at(came) }
    };
    // A late answer of the old one is no sign; one that was asked for later is.
    let handed_over = vec![answer("a", 0, 10), answer("a", 15, 40), answer("b", 20, 45), answer("b", 50, 55)];
    assert_eq!(in_order(handed_over), ["a", "b"]);
    let both = vec![answer("a", 0, 10), answer("b", 12, 20), answer("a", 21, 25), answer("b", 26, 30)];
    assert_eq!(in_order(both), ["a", "b", "a", "b"]);
}
