//! Who is present in a room with very many members.

use bellwire_core::testing::Recorder;
use bellwire_rooms_tests::wait_until;

use crate::site::{On, Site, on_each_engine};

on_each_engine! {
    ten_thousand_members_are_known_on_all_nodes
}

const MEMBERS: usize = 10_000;

fn name(number: usize) -> String {
    format!("user-{number:07}")
}

fn ten_thousand_members_are_known_on_all_nodes(on: On) {
    let site = Site::new(on, 3);
    let [one, two, newcomer] = [0, 1, 2].map(|node| &site.nodes[node]);
    let members: Vec<_> = (0..MEMBERS).map(|_| Recorder::new()).collect();
    for (number, member) in members.iter().enumerate() {
        let node = [one, two][number % 2];
        node.join_as("a", &member.socket(), &name(number)).unwrap();
    }
    wait_until("all are counted", || one.count("a") == MEMBERS && two.count("a") == MEMBERS);
    // One more node is told of all, and all are told of it.
    let last = Recorder::new();
    newcomer.join_as("a", &last.socket(), &name(MEMBERS)).unwrap();
    wait_until("all know each other", || site.nodes.iter().all(|node| node.count("a") == MEMBERS + 1));
    let all: Vec<_> = (0..=MEMBERS).map(name).collect();
    for node in &site.nodes {
        assert!(node.present("a").iter().map(|who| &**who).eq(all.iter().map(String::as_str)));
    }
    // Every other one leaves: all those of one node among them.
    members.iter().step_by(2).for_each(Recorder::end);
    let rest: Vec<_> = (0..MEMBERS).skip(1).step_by(2).chain([MEMBERS]).map(name).collect();
    wait_until("half of them are left", || [two, newcomer].iter().all(|node| node.count("a") == rest.len()));
    for node in [two, newcomer] {
        assert!(node.present("a").iter().map(|who| &**who).eq(rest.iter().map(String::as_str)));
    }
    members.iter().chain([&last]).for_each(Recorder::end);
    wait_until("nobody is left", || site.nodes.iter().all(|node| node.count("a") == 0 && node.present("a").is_empty()));
}
