//! Two sessions against each other.

use super::*;

/// How the bytes that pass between the ends are cut.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Whole,
    /// Into pieces of so many bytes.
    Every(usize),
    /// Those of one end in two.
    At(usize, usize),
}

impl Cut {
    /// Cuts the bytes that come after so many others from an end.
    fn pieces(self, end: usize, passed: usize, bytes: &[u8]) -> Vec<&[u8]> {
        match self {
            Self::Every(size) => bytes.chunks(size).collect(),
            Self::At(one, at) if one == end && (passed..passed + bytes.len()).contains(&at) => {
                <[_; 2]>::from(bytes.split_at(at - passed)).into()
            }
            Self::Whole | Self::At(..) => vec![bytes],
        }
    }
}

/// A client and a server, and what passes between them.
struct Talk {
    ends: [End; 2],
    closed: [bool; 2],
    passed: [usize; 2],
}

impl Talk {
    fn new([a, b]: [Library; 2], says: [&[u8]; 2]) -> Self {
        Self::over([client(a), server(b)], says)
    }

    fn over([client, server]: [Session; 2], says: [&[u8]; 2]) -> Self {
        let ends = [End::saying(client, says[0]), End::saying(server, says[1])];
        Self { ends, closed: [false; 2], passed: [0; 2] }
    }

    /// Hands over what one end has to say; `true` if there was something.
    fn pass(&mut self, from: usize, cut: Cut) -> Result<bool, TlsError> {
        let bytes = self.ends[from].output();
        for piece in cut.pieces(from, self.passed[from], &bytes) {
            self.ends[1 - from].hear(piece)?;
        }
        self.passed[from] += bytes.len();
        Ok(!bytes.is_empty())
    }

    /// Until each is sure of the other, or there is nothing to say any more.
    fn shake_hands(&mut self, cut: Cut) -> Result<(), TlsError> {
        while self.pass(0, cut)? | self.pass(1, cut)? {}
        Ok(())
    }

    /// Until all was said, and that it is all.
    fn converse(&mut self, cut: Cut) -> Result<(), TlsError> {
        while !self.ends.iter().all(|end| end.ended) {
            let mut quiet = true;
            for from in [0, 1] {
                let end = &mut self.ends[from];
                if end.speak() && !mem::replace(&mut self.closed[from], true) {
                    end.session.close();
                }
                quiet &= !self.pass(from, cut)?;
            }
            assert!(!quiet, "{cut:?}: neither goes on");
        }
        Ok(())
    }
}

/// Runs a conversation to its end, and looks at what was heard.
fn talk(mut talk: Talk, cut: Cut, context: &dyn std::fmt::Debug) {
    talk.converse(cut).unwrap_or_else(|error| panic!("{context:?}, {cut:?}: {error}"));
    let [client, server] = &talk.ends;
    assert!(client.heard == server.says && server.heard == client.says, "{context:?}, {cut:?}");
    assert!(talk.ends.iter().all(|end| !end.session.wants_write() && !end.session.is_handshaking()));
}

/// A connection that is open, with nothing left to say.
fn opened(pair: [Library; 2]) -> Talk {
    let mut talk = Talk::new(pair, [b"", b""]);
    talk.shake_hands(Cut::Whole).unwrap();
    assert!(talk.ends.iter().all(|end| !end.session.is_handshaking()), "{pair:?}");
    talk
}

// However bytes are cut.

#[test]
fn each_hears_what_the_other_says_and_that_it_was_all() {
    let (long, longer) = (noise(40_000), noise(150_000));
    for pair in PAIRS {
        for says in [[&b""[..], b""], [b"a", b""], [b"", b"b"], [b"hello", &long], [&longer, &long]] {
            talk(Talk::new(pair, says), Cut::Whole, &pair);
        }
        for size in [2, 5, 100, 16_384] {
            talk(Talk::new(pair, [&long, b"hello"]), Cut::Every(size), &pair);
            talk(Talk::new(pair, [b"hello", &long]), Cut::Every(size), &pair);
        }
        talk(Talk::new(pair, [&long[..20_000], &long[..17_000]]), Cut::Every(1), &pair);
    }
}

#[test]
fn rustls_understands_itself_wherever_its_first_bytes_are_cut() {
    at_each_place([Rustls, Rustls]);
}

#[test]
fn native_tls_understands_itself_wherever_its_first_bytes_are_cut() {
    at_each_place([Native, Native]);
}

fn at_each_place(pair: [Library; 2]) {
    let passed = opened(pair).passed;
    assert!(passed.iter().all(|&count| count > 100), "{passed:?}");
    for end in [0, 1] {
        for at in 1..passed[end] {
            talk(Talk::new(pair, [b"hello", b"you, too"]), Cut::At(end, at), &pair);
        }
    }
}

#[test]
fn with_tls_1_2_it_is_the_same() {
    let mut config = Arc::unwrap_or_clone(Trust::shared().client());
    config = {
        let provider = config.crypto_provider().clone();
        let mut roots = rustls::RootCertStore::empty();
        let root = rustls::pki_types::pem::PemObject::from_pem_slice(Trust::shared().root_pem().as_bytes());
        roots.add(root.unwrap()).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS12]).unwrap();
        builder.with_root_certificates(roots).with_no_client_auth()
    };
    let old = ClientTls::from(config);
    for library in [Rustls, Native] {
        for cut in [Cut::Whole, Cut::Every(1), Cut::Every(9)] {
            let client = Session::client(Some(&old), "localhost").unwrap();
            talk(Talk::over([client, server(library)], [&noise(20_000), b"hello"]), cut, &library);
        }
    }
}

#[test]
fn a_client_that_comes_again_is_shown_no_certificate_and_understands() {
    let tls = ClientTls::from(Trust::shared().client());
    let answers = [(); 2].map(|()| {
        let sessions = [Session::client(Some(&tls), "localhost").unwrap(), server(Rustls)];
        let mut talk = Talk::over(sessions, [b"hello", b"you, too"]);
        talk.shake_hands(Cut::Every(3)).unwrap();
        let answered = talk.passed[1];
        talk.converse(Cut::Every(1)).unwrap();
        assert_eq!(talk.ends[0].heard, b"you, too");
        answered
    });
    assert!(answers[1] < answers[0] - 200, "{answers:?}");
}

// What a client says first.

#[test]
fn a_client_names_the_host_and_its_protocol_but_no_address() {
    let hello = |tls: &ClientTls, host| End::new(Session::client(Some(tls), host).unwrap()).output();
    let has = |hello: &[u8], text: &str| hello.windows(text.len()).any(|part| part == text.as_bytes());
    for tls in [&*CLIENT, &*NATIVE_CLIENT] {
        assert!(has(&hello(tls, "localhost"), "localhost"));
        for address in ["127.0.0.1", "::1", "fe80::1%lo"] {
            // RFC 6066 §3: "Literal IPv4 and IPv6 addresses are not permitted in "HostName"."
            assert!(!has(&hello(tls, address), address.split('%').next().unwrap()), "{address}");
        }
    }
    assert!(has(&hello(&CLIENT, "localhost"), "http/1.1"));
}

#[test]
fn what_no_certificate_can_be_for_is_said_before_anything_is_sent() {
    for host in ["", "a b", "[::1]", "a\0b", "-", "ex..ample"] {
        let error = Session::client(Some(&CLIENT), host).unwrap_err();
        assert!(matches!(error, TlsError::Name), "{host:?}: {error}");
    }
}

// Ends.

#[test]
fn an_end_that_the_peer_announced_is_clean_and_what_follows_is_ignored() {
    for pair in PAIRS {
        for from in [0, 1] {
            let mut talk = opened(pair);
            talk.ends[from].says = b"the last".into();
            assert!(talk.ends[from].speak());
            talk.ends[from].session.close();
            let mut bytes = talk.ends[from].output();
            // RFC 8446 §6.1: "Any data received after a closure alert has been received MUST be ignored."
            bytes.extend(b"\x17\x03\x03\0\x03abcGET / HTTP/1.1\r\n\r\n");
            let reader = &mut talk.ends[1 - from];
            reader.hear(&bytes).unwrap();
            assert_eq!((reader.take_heard().as_slice(), reader.ended), (&b"the last"[..], true), "{pair:?} {from}");
            reader.session.receive_eof();
            assert_eq!(reader.session.read(&mut [0; 10]).unwrap(), 0, "{pair:?} {from}");
        }
    }
}

#[test]
fn an_end_that_nobody_announced_may_be_cut_off_and_what_came_before_is_read_first() {
    for pair in PAIRS {
        for from in [0, 1] {
            let mut talk = opened(pair);
            talk.ends[from].says = b"the last".into();
            assert!(talk.ends[from].speak());
            let (bytes, reader) = (talk.ends[from].output(), &mut talk.ends[1 - from].session);
            let mut rest = &bytes[..];
            reader.receive(&mut rest).unwrap();
            assert!(rest.is_empty());
            reader.receive_eof();
            let mut buffer = [0; 10];
            assert_eq!(reader.read(&mut buffer).unwrap(), 8, "{pair:?} {from}");
            for _ in 0..2 {
                let error = reader.read(&mut buffer).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{pair:?} {from}: {error}");
            }
        }
    }
}

#[test]
fn a_peer_that_leaves_before_its_first_byte_has_just_left() {
    for library in [Rustls, Native] {
        for mut session in [client(library), server(library)] {
            session.receive_eof();
            assert_eq!(session.read(&mut [0; 10]).unwrap(), 0, "{library:?}");
        }
    }
}

#[test]
fn a_peer_that_leaves_within_the_handshake_is_told_of() {
    for pair in PAIRS {
        let (hello, answer) = {
            let mut talk = Talk::new(pair, [b"", b""]);
            let hello = talk.ends[0].output();
            talk.ends[1].hear(&hello).unwrap();
            (hello, talk.ends[1].output())
        };
        for (mut session, bytes) in [(server(pair[1]), hello), (client(pair[0]), answer)] {
            // The answer is one to another client, which does not show so early.
            let mut piece = &bytes[..60];
            session.receive(&mut piece).unwrap();
            session.receive_eof();
            let error = session.read(&mut [0; 10]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{pair:?}");
            assert!(matches!(TlsError::from_io(error), Ok(TlsError::Eof)), "{pair:?}");
        }
    }
}

// What is no TLS, or not to be trusted.

#[test]
fn what_is_no_tls_is_said_to_be_none_from_its_first_bytes_on() {
    let rubbish = noise(2000);
    for library in [Rustls, Native] {
        for says in [
            &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2p1\r\n",
            &rubbish,
        ] {
            for size in [1, 5, 1000] {
                for session in [client(library), server(library)] {
                    let mut end = End::new(session);
                    let error = says.chunks(size).find_map(|piece| end.hear(piece).err());
                    assert!(matches!(error, Some(TlsError::NotTls)), "{library:?}, {size}: {error:?}");
                }
            }
        }
    }
}

#[test]
fn rubbish_behind_a_handshake_is_no_reason_to_look_for_another_port() {
    for pair in PAIRS {
        for at in 0..2 {
            let mut talk = opened(pair);
            let error = talk.ends[at].hear(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").unwrap_err();
            assert!(matches!(error, TlsError::Protocol(_)), "{pair:?}: {error:?}");
        }
    }
}

#[test]
fn a_session_that_has_failed_takes_nothing_any_more() {
    for library in [Rustls, Native] {
        for session in [client(library), server(library)] {
            let mut end = End::new(session);
            end.hear(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap_err();
            end.output();
            let error = end.session.write(&[IoSlice::new(b"hello")]).unwrap_err();
            assert_ne!(error.kind(), ErrorKind::WouldBlock, "{library:?}");
            end.session.read(&mut [0; 10]).unwrap_err();
        }
    }
}

/// A server that vouches for itself.
pub(super) fn stranger() -> ServerTls {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
    let shown = params.self_signed(&key).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let builder = rustls::ServerConfig::builder_with_provider(Trust::shared().client().crypto_provider().clone());
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    builder.with_single_cert(vec![shown.der().clone()], key).unwrap().into()
}

#[test]
fn a_client_that_does_not_trust_a_server_says_why_and_tells_the_server() {
    let shows = |name: &str| ServerTls::from(Trust::shared().certify(&[name]).server());
    let stranger = stranger();
    let expired = Trust::shared().certify_with(&["localhost"], |params| {
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    let expired = ServerTls::from(expired.server());
    for (tls, why, alert) in [
        (&stranger, "UnknownIssuer", "UnknownCA"),
        (&shows("elsewhere.example"), "not valid for name", "BadCertificate"),
        (&expired, "expired", "CertificateExpired"),
    ] {
        let sessions = [client(Rustls), Session::server(tls).unwrap()];
        let mut talk = Talk::over(sessions, [b"", b""]);
        let error = talk.shake_hands(Cut::Whole).unwrap_err();
        assert!(matches!(error, TlsError::Certificate(_)) && error.to_string().contains(why), "{error}");
        assert!(talk.ends[0].session.wants_write());
        let told = talk.pass(0, Cut::Whole).unwrap_err();
        assert!(matches!(told, TlsError::Protocol(_)) && told.to_string().contains(alert), "{told}");
        // native-tls does not say what it is that fails, except in words.
        let mut talk = Talk::over([client(Native), Session::server(tls).unwrap()], [b"", b""]);
        let error = talk.shake_hands(Cut::Whole).unwrap_err();
        assert!(error.to_string().contains("certificate"), "{error}");
    }
}

#[test]
fn a_byte_that_was_changed_on_the_way_is_found() {
    for pair in PAIRS {
        let mut talk = opened(pair);
        talk.ends[0].says = b"hello".into();
        assert!(talk.ends[0].speak());
        let mut bytes = talk.ends[0].output();
        *bytes.last_mut().unwrap() ^= 1;
        let session = &mut talk.ends[1].session;
        let failed = match session.receive(&mut &bytes[..]) {
            Ok(()) => session.read(&mut [0; 10]).is_err_and(|error| error.kind() != ErrorKind::WouldBlock),
            Err(_) => true,
        };
        assert!(failed, "{pair:?}");
    }
}

// How much is held.

#[test]
fn nothing_is_taken_before_the_handshake_and_not_more_than_a_bound_while_nothing_leaves() {
    let long = noise(1_000_000);
    for pair in PAIRS {
        for mut session in [client(pair[0]), server(pair[1])] {
            let error = session.write(&[IoSlice::new(b"hello")]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }
        for from in [0, 1] {
            let mut talk = opened(pair);
            talk.ends[from].says = long.clone();
            let mut before = 0;
            for _ in 0..3 {
                assert!(!talk.ends[from].speak());
                let taken = talk.ends[from].said - before;
                assert!((16_000..=150_000).contains(&taken), "{pair:?} {from}: {taken}");
                before = talk.ends[from].said;
                assert!(talk.pass(from, Cut::Whole).unwrap());
            }
            assert!(talk.ends[1 - from].heard == long[..before]);
        }
    }
}
