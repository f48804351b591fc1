//! Redis that fails over, and Sentinels that say where it is.

use std::time::Duration;

use bellwire_core::testing::Recorder;
use bellwire_rooms::{BrokerError, Builder, History, PublishError, Redis};
use bellwire_rooms_tests::{Broker, Kind, Relay, Way, wait_until};

use crate::site::{ROOMS, wait_for_messages};
use crate::watched::{ANSWER, Watched};

/// Longer than any test: what ends sooner was not waited for.
const NEVER: Duration = Duration::from_secs(3600);

/// A Redis with its replica, and three Sentinels.
struct Available {
    primary: Broker,
    replica: Broker,
    sentinels: Vec<Broker>,
}

impl Available {
    fn start() -> Self {
        let primary = Broker::start(Kind::Redis);
        let replica = Broker::replica_of(&primary);
        let sentinels: Vec<_> = (0..3).map(|_| Broker::sentinel_of(&primary, 2, None)).collect();
        // Otherwise there is nobody to vote, or to be made the primary.
        for sentinel in &sentinels {
            wait_until("Sentinels that know all", || {
                let words = sentinel.redis(&["SENTINEL", "MASTER", "mymaster"]);
                let says = |name: &str, value: &str| words.chunks(2).any(|pair| pair == [name, value]);
                says("num-slaves", "1") && says("num-other-sentinels", "2") && says("flags", "master")
            });
        }
        Self { primary, replica, sentinels }
    }

    fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(Broker::url).collect()
    }

    /// So many nodes, each with a member in a room.
    fn nodes(&self, set_up: impl Fn(Builder) -> Builder) -> (Vec<Watched>, Vec<Recorder>) {
        let nodes: Vec<_> = (0..2).map(|_| behind("redis://mymaster", &self.urls(), &set_up)).collect();
        nodes.iter().for_each(Watched::wait_connected);
        let members = nodes.iter().map(member).collect();
        wait_for_both(&self.primary, &nodes);
        (nodes, members)
    }
}

fn behind(url: &str, sentinels: &[String], set_up: impl Fn(Builder) -> Builder) -> Watched {
    Watched::over(|builder| set_up(builder).redis(Redis::from(url).sentinels(sentinels)).unwrap())
}

fn member(node: &Watched) -> Recorder {
    let member = Recorder::new();
    node.rooms.join("a", &member.socket()).unwrap();
    member
}

#[track_caller]
fn wait_for_both(redis: &Broker, nodes: &[Watched]) {
    wait_until("both nodes are there", || redis.channels(ROOMS).into_values().eq([2]));
    // They know that a moment later.
    nodes.iter().for_each(Watched::wait_connected);
}

/// Each member gets what each node says, after the first so many.
#[track_caller]
fn talk(nodes: &[Watched], members: &[Recorder], before: usize) {
    for (count, node) in (before..).zip(nodes) {
        node.rooms.publish("a", count.to_string()).unwrap();
        for member in members {
            assert_eq!(wait_for_messages(member, count + 1)[count], count.to_string());
        }
    }
}

#[test]
#[ignore = "needs redis-server"]
fn nodes_follow_when_the_primary_is_killed() {
    let mut redis = Available::start();
    let (nodes, members) = redis.nodes(|builder| builder);
    talk(&nodes, &members, 0);
    redis.primary.kill();
    nodes.iter().for_each(|node| node.wait_for_gaps(1));
    wait_for_both(&redis.replica, &nodes);
    talk(&nodes, &members, 2);
    for node in &nodes {
        let gaps = node.gaps();
        assert_eq!((gaps.len(), &*gaps[0].rooms), (1, &["a".into()][..]), "{:?}", node.away());
    }
    // It comes back as what it is not any more, until it is told.
    redis.primary.restart();
    let late = behind("redis://mymaster", &redis.urls(), |builder| builder);
    late.wait_connected();
    let other = member(&late);
    wait_until("the third", || redis.replica.channels(ROOMS).into_values().eq([3]));
    late.rooms.publish("a", "late").unwrap();
    assert_eq!(wait_for_messages(&other, 1), ["late"]);
    assert_eq!(wait_for_messages(&members[0], 5)[4], "late");
}

#[test]
#[ignore = "needs redis-server"]
fn what_the_replica_has_of_a_history_bridges_the_gap() {
    let mut redis = Available::start();
    let (nodes, members) = redis.nodes(|builder| builder.history(History::last(100)));
    talk(&nodes, &members, 0);
    wait_until("a replica that has all", || redis.replica.redis(&["XLEN", "{test}.keep.a"]) == ["2"]);
    redis.primary.kill();
    wait_for_both(&redis.replica, &nodes);
    talk(&nodes, &members, 2);
    assert_eq!(nodes[0].rooms.history("a", None).wait().unwrap().messages.len(), 4);
    assert!(nodes.iter().all(|node| node.gaps().is_empty()), "{:?}", nodes[0].gaps());
}

#[test]
#[ignore = "needs redis-server"]
fn nobody_stays_with_a_primary_that_does_not_know_that_it_was_replaced() {
    let redis = Available::start();
    // Neither its silence nor what it says of itself can be what ends the connections.
    let (nodes, members) = redis.nodes(|builder| builder.answer_timeout(NEVER).heartbeat(NEVER));
    redis.primary.pause();
    nodes[0].publish("b", 17);
    wait_until("another primary", || redis.replica.redis(&["ROLE"])[0] == "master");
    nodes.iter().for_each(|node| node.wait_for_gaps(1));
    // Either it was on its way to the old one, or it has waited for the new one behind something that was.
    let outcomes = nodes[0].wait_for_outcomes(1);
    assert!(matches!(outcomes[..], [(17, Ok(()) | Err(PublishError::Lost))]), "{outcomes:?}");
    redis.primary.resume();
    wait_until("nobody is there", || redis.primary.channels(ROOMS).is_empty());
    wait_for_both(&redis.replica, &nodes);
    talk(&nodes, &members, 0);
    for node in &nodes {
        let away = node.away();
        let [BrokerError::Lost(why)] = &away[..] else { panic!("{away:?}") };
        assert!(why.contains("failed over") && why.contains(&redis.replica.port().to_string()), "{why}");
    }
}

#[test]
#[ignore = "needs redis-server"]
fn without_sentinels_a_primary_that_was_demoted_is_left_until_it_is_one_again() {
    let redis = Broker::start(Kind::Redis);
    let nodes = [0, 1].map(|_| Watched::at(&redis, |builder| builder.heartbeat(Duration::from_millis(200))));
    let members: Vec<_> = nodes.iter().map(member).collect();
    wait_for_both(&redis, &nodes);
    talk(&nodes, &members, 0);
    // It ends no connection by that, and takes what is published as before.
    redis.redis(&["REPLICAOF", "127.0.0.1", "1"]);
    for node in &nodes {
        let error = node.wait_for_error(|_| true);
        assert!(matches!(&error, BrokerError::Protocol(text) if text.contains("that is a replica")), "{error:?}");
        assert_eq!(node.rooms.publish("a", "to nobody"), Err(PublishError::Unavailable));
    }
    redis.redis(&["REPLICAOF", "NO", "ONE"]);
    nodes.iter().for_each(|node| node.wait_for_gaps(1));
    wait_for_both(&redis, &nodes);
    talk(&nodes, &members, 2);
}

#[test]
#[ignore = "needs redis-server"]
fn sentinels_that_are_away_cost_little_and_their_names_are_told() {
    let primary = Broker::start(Kind::Redis);
    let mut sentinels = [0, 1].map(|_| Broker::sentinel_of(&primary, 1, None));
    let relay = Relay::to(sentinels[1].port());
    relay.set(Way::BlackHole);
    sentinels[0].stop();
    let urls = [sentinels[0].url(), sentinels[1].url_at(relay.port())];
    let node = behind("redis://mymaster", &urls, |builder| builder.answer_timeout(ANSWER));
    let error = node.wait_for_error(|error| matches!(error, BrokerError::Unreachable(_))).to_string();
    for said in ["`mymaster`", &urls[0], "refused", &urls[1], "no answer within"] {
        assert!(error.contains(said), "{said}: {error}");
    }
    // One is enough.
    sentinels[0].restart();
    node.wait_connected();
    let reversed = [urls[1].clone(), urls[0].clone()];
    behind("redis://mymaster", &reversed, |builder| builder.answer_timeout(ANSWER)).wait_connected();
}

#[test]
#[ignore = "needs redis-server"]
fn the_primary_and_the_sentinels_have_credentials_of_their_own() {
    let primary = Broker::secured(Kind::Redis, "pr1mary");
    let sentinel = Broker::sentinel_of(&primary, 1, Some("sent1nel"));
    let url = |password: &str| format!("redis://alice:{password}@mymaster/3");
    let right = behind(&url("pr1mary"), &[sentinel.url()], |builder| builder);
    right.wait_connected();
    let wrong_primary = behind(&url("sent1nel"), &[sentinel.url()], |builder| builder);
    let wrong_sentinel = behind(&url("pr1mary"), &[sentinel.url().replace("sent1nel", "pr1mary")], |builder| builder);
    let none = behind(&url("pr1mary"), &[format!("redis://127.0.0.1:{}", sentinel.port())], |builder| builder);
    for (node, said) in [
        (wrong_primary, format!("`mymaster` is at redis://127.0.0.1:{}: WRONGPASS", primary.port())),
        (wrong_sentinel, format!("redis://127.0.0.1:{}: it has other credentials", sentinel.port())),
        (none, format!("redis://127.0.0.1:{}: NOAUTH", sentinel.port())),
    ] {
        let error = node.wait_for_error(|error| matches!(error, BrokerError::Credentials(_)));
        let shown = format!("{error} {error:?} {:?}", node.rooms);
        assert!(shown.contains(&said), "{said}: {shown}");
        assert!(!shown.contains("pr1mary") && !shown.contains("sent1nel"), "{shown}");
    }
}

#[test]
#[ignore = "needs redis-server"]
fn a_user_of_a_sentinel_needs_what_the_documentation_says() {
    let primary = Broker::start(Kind::Redis);
    let sentinel = Broker::sentinel_of(&primary, 1, None);
    sentinel.redis(&["ACL", "SETUSER", "node", "on", ">pass", "-@all"]);
    let urls = [format!("redis://node:pass@127.0.0.1:{}", sentinel.port())];
    let node = behind("redis://mymaster", &urls, |builder| builder);
    let error = node.wait_for_error(|error| matches!(error, BrokerError::Denied(_))).to_string();
    assert!(error.contains("+sentinel|get-master-addr-by-name +sentinel|master"), "{error}");
    sentinel.redis(&["ACL", "SETUSER", "node", "+sentinel|get-master-addr-by-name", "+sentinel|master"]);
    node.wait_connected();
}

#[test]
#[ignore = "needs redis-server"]
fn what_is_wrong_with_the_name_or_the_addresses_is_said() {
    let mut primary = Broker::start(Kind::Redis);
    let sentinel = Broker::sentinel_of(&primary, 1, None);
    let says = |node: &Watched, expected: fn(&BrokerError) -> bool, words: &[&str]| {
        let error = node.wait_for_error(expected).to_string();
        for word in words {
            assert!(error.contains(word), "{word}: {error}");
        }
    };
    let protocol = |error: &BrokerError| matches!(error, BrokerError::Protocol(_));
    let unknown = behind("redis://another", &[sentinel.url()], |builder| builder);
    says(&unknown, protocol, &["`another`", &sentinel.url(), "`sentinel monitor`"]);
    let no_sentinel = behind("redis://mymaster", &[primary.url()], |builder| builder);
    says(&no_sentinel, protocol, &[&primary.url(), "that is no Sentinel", "26379"]);
    let direct = Watched::new(Kind::Redis, &sentinel.url(), |builder| builder);
    says(&direct, protocol, &["that is a Sentinel"]);
    // Nobody could take its place.
    primary.stop();
    let down = |error: &BrokerError| matches!(error, BrokerError::Unreachable(text) if text.contains("most of them"));
    let node = behind("redis://mymaster", &[sentinel.url()], |builder| builder);
    says(&node, down, &["`mymaster`", &sentinel.url(), &primary.url(), "refused"]);
    primary.restart();
    node.wait_connected();
    // Until a Sentinel makes it one again.
    let late = Broker::replica_of(&primary);
    sentinel.redis(&["SENTINEL", "REMOVE", "mymaster"]);
    sentinel.redis(&["SENTINEL", "MONITOR", "mymaster", "127.0.0.1", &late.port().to_string(), "1"]);
    let replica = behind("redis://mymaster", &[sentinel.url()], |builder| builder);
    says(&replica, protocol, &["that is a replica", &late.url()]);
}
