//! The negotiation of permessage-deflate (RFC 7692 §5 and §7.1).

use alloc::format;
use alloc::string::String;

use crate::config::{Deflate, WINDOW_BITS};
use crate::context::{Compression, MAX_WINDOW_BITS, Window};
use crate::http::{Extension, extensions};

const NAME: &str = "permessage-deflate";

/// RFC 7692 §7.1.2.1 allows windows of 8 bits. Some servers answer an offer of them with a refusal of the handshake, so
/// they are not asked for.
const LEAST_OFFERED: u8 = 9;

/// The parameters of an offer or of an answer, each at most once and well-formed.
#[derive(Debug, Default)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: Option<Bits>,
}

#[derive(Debug, Clone, Copy)]
enum Bits {
    /// Only in an offer: any value may be asked for.
    Any,
    Most(u8),
}

/// For handshakes that are made elsewhere; those here negotiate by themselves.
impl Compression {
    /// Returns what a server agrees to: the first of the client's offers that can be met. Its text is the answer's
    /// `Sec-WebSocket-Extensions`. `None`: there is no such offer, and the answer has no such header.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::Compression;
    /// use bellwire::config::Deflate;
    /// use bellwire::proto::SocketContext;
    ///
    /// let offers = [&b"permessage-deflate; client_max_window_bits"[..]];
    /// let agreed = Compression::accept(offers, &Deflate::default()).unwrap();
    /// assert_eq!(agreed.to_string(), "permessage-deflate; client_max_window_bits=12");
    /// // For `Connection::set_context`.
    /// let context = SocketContext::new().compression(agreed);
    /// ```
    ///
    /// `offers` are the values of the request's headers `Sec-WebSocket-Extensions`.
    pub fn accept<'a>(offers: impl IntoIterator<Item = &'a [u8]>, config: &Deflate) -> Option<Self> {
        // RFC 7692 §5.1: offers are "listed in order of preference", and those that cannot be met are declined.
        extensions(offers.into_iter())
            .filter_map(Result::ok)
            .filter(|offer| offer.name.eq_ignore_ascii_case(NAME))
            .find_map(|offer| Some(answer(&Parameters::parse(&offer)?, &config.with_valid_windows())))
    }

    /// Returns what a client offers, as the request's `Sec-WebSocket-Extensions` has it.
    pub fn offer(config: &Deflate) -> String {
        offer(&config.with_valid_windows())
    }

    /// Returns what a server has agreed to, by the values of the answer's headers `Sec-WebSocket-Extensions`. Without
    /// such a header it has declined, and there is nothing to ask here. `None`: this is no answer to
    /// [what was offered](Self::offer), and RFC 7692 §7.1 has the client "_Fail the WebSocket Connection_".
    pub fn accepted<'a>(answer: impl IntoIterator<Item = &'a [u8]>, config: &Deflate) -> Option<Self> {
        judge(answer.into_iter(), &config.with_valid_windows())
    }
}

fn answer(offer: &Parameters, config: &Deflate) -> Compression {
    let offered = offer.server_max_window_bits.unwrap_or(MAX_WINDOW_BITS);
    let server = Window {
        // §7.1.2.1: "with the same or smaller value as the offer".
        bits: config.server_max_window_bits.min(offered),
        // §7.1.1.1: "A server accepts an extension negotiation offer that includes the "server_no_context_takeover"
        // extension parameter by including" it, and "MAY include" it even if the offer does not.
        no_context_takeover: config.server_no_context_takeover || offer.server_no_context_takeover,
    };
    let client = Window {
        bits: match offer.client_max_window_bits {
            Some(Bits::Most(bits)) => config.client_max_window_bits.min(bits),
            Some(Bits::Any) => config.client_max_window_bits,
            // §7.1.2.2: if an offer "doesn't have the "client_max_window_bits" extension parameter, the corresponding
            // extension negotiation response to the offer MUST NOT include" it.
            None => MAX_WINDOW_BITS,
        },
        // §7.1.1.2: the offer is a hint that the client will do so, and "a server MAY include" it in any response.
        no_context_takeover: config.client_no_context_takeover || offer.client_no_context_takeover,
    };
    // §7.1.2.1: a server accepts an offer of "server_max_window_bits" "by including" it, whatever its value.
    let names_largest_window = offer.server_max_window_bits.is_some() && server.bits == MAX_WINDOW_BITS;
    Compression { server, client, names_largest_window }
}

/// Returns what the client offers.
fn offer(config: &Deflate) -> String {
    let mut offer = String::from(NAME);
    if config.server_no_context_takeover {
        offer += "; server_no_context_takeover";
    }
    if config.client_no_context_takeover {
        offer += "; client_no_context_takeover";
    }
    if config.server_max_window_bits < MAX_WINDOW_BITS {
        offer += &format!("; server_max_window_bits={}", config.server_max_window_bits.max(LEAST_OFFERED));
    }
    offer += "; client_max_window_bits";
    if config.client_max_window_bits < MAX_WINDOW_BITS {
        offer += &format!("={}", config.client_max_window_bits.max(LEAST_OFFERED));
    }
    offer
}

/// Judges the server's answer to the [`offer`].
fn judge<'a>(answer: impl Iterator<Item = &'a [u8]>, config: &Deflate) -> Option<Compression> {
    let mut answers = extensions(answer);
    let (Some(Ok(answer)), None) = (answers.next(), answers.next()) else { return None };
    if !answer.name.eq_ignore_ascii_case(NAME) {
        return None;
    }
    let answer = Parameters::parse(&answer)?;
    let most = config.server_max_window_bits.max(LEAST_OFFERED);
    let server = match answer.server_max_window_bits {
        // §7.1.2.1: a server accepts an offer with this parameter by including it "with the same or smaller value".
        Some(bits) if bits <= most => bits,
        // §7.1.2.1: it "MAY include" it unasked.
        None if most == MAX_WINDOW_BITS => MAX_WINDOW_BITS,
        _ => return None,
    };
    let most = config.client_max_window_bits.max(LEAST_OFFERED);
    let client = match answer.client_max_window_bits {
        // §7.1.2.2: the client may keep to a smaller window than it has to, and some servers always answer 15.
        Some(Bits::Most(bits)) => bits.min(most),
        None => most,
        // In an answer there is a value.
        Some(Bits::Any) => return None,
    };
    // §7.1.1.1: a server accepts this "by including" it.
    if config.server_no_context_takeover && !answer.server_no_context_takeover {
        return None;
    }
    Some(Compression {
        server: Window { bits: server, no_context_takeover: answer.server_no_context_takeover },
        client: Window {
            bits: client,
            no_context_takeover: config.client_no_context_takeover || answer.client_no_context_takeover,
        },
        names_largest_window: answer.server_max_window_bits == Some(MAX_WINDOW_BITS),
    })
}

impl Parameters {
    /// RFC 7692 §7.1 has those declined that contain "an extension parameter not defined for use in an offer", "an
    /// extension parameter with an invalid value", or "multiple extension parameters with the same name".
    fn parse(extension: &Extension<'_>) -> Option<Self> {
        let mut parsed = Self::default();
        for (name, value) in extension.parameters() {
            let is_first = match (name, value.as_deref()) {
                ("server_no_context_takeover", None) => set(&mut parsed.server_no_context_takeover),
                ("client_no_context_takeover", None) => set(&mut parsed.client_no_context_takeover),
                ("server_max_window_bits", Some(bits)) => {
                    parsed.server_max_window_bits.replace(window_bits(bits)?).is_none()
                }
                ("client_max_window_bits", bits) => {
                    let bits = match bits {
                        Some(bits) => Bits::Most(window_bits(bits)?),
                        None => Bits::Any,
                    };
                    parsed.client_max_window_bits.replace(bits).is_none()
                }
                _ => return None,
            };
            if !is_first {
                return None;
            }
        }
        Some(parsed)
    }
}

/// Returns whether it was not set before.
fn set(flag: &mut bool) -> bool {
    !core::mem::replace(flag, true)
}

/// RFC 7692 §7.1.2.1: "a decimal integer value without leading zeroes between 8 to 15, inclusive".
fn window_bits(value: &str) -> Option<u8> {
    // `parse` would take a plus sign, and zeros.
    let bits = value.parse().ok()?;
    (WINDOW_BITS.contains(&bits) && value.as_bytes().first() != Some(&b'0') && !value.starts_with('+')).then_some(bits)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn accepted(offers: &[&'static str], config: Deflate) -> Option<String> {
        Compression::accept(offers.iter().map(|offer| offer.as_bytes()), &config).map(|agreed| agreed.to_string())
    }

    fn judged(answer: &[&'static str], config: Deflate) -> Option<String> {
        Compression::accepted(answer.iter().map(|answer| answer.as_bytes()), &config).map(|agreed| agreed.to_string())
    }

    /// The whole window on both sides, so that what is seen comes from the offer.
    fn plain() -> Deflate {
        Deflate::default().client_max_window_bits(15)
    }

    #[test]
    fn offers_and_answers() {
        let table: &[(&str, Option<&str>)] = &[
            ("permessage-deflate", Some("permessage-deflate")),
            ("Permessage-Deflate", Some("permessage-deflate")),
            // What Chrome and Firefox offer.
            ("permessage-deflate; client_max_window_bits", Some("permessage-deflate")),
            // §7.1.1.1: "accepts an extension negotiation offer that includes [it] by including" it.
            ("permessage-deflate; server_no_context_takeover", Some("permessage-deflate; server_no_context_takeover")),
            // §7.1.1.2: "to avoid taking over the LZ77 sliding window unnecessarily by including" it.
            ("permessage-deflate; client_no_context_takeover", Some("permessage-deflate; client_no_context_takeover")),
            // §7.1.2.1: "with the same or smaller value as the offer".
            ("permessage-deflate; server_max_window_bits=10", Some("permessage-deflate; server_max_window_bits=10")),
            ("permessage-deflate; server_max_window_bits=8", Some("permessage-deflate; server_max_window_bits=8")),
            ("permessage-deflate; server_max_window_bits=15", Some("permessage-deflate; server_max_window_bits=15")),
            ("permessage-deflate; client_max_window_bits=9", Some("permessage-deflate; client_max_window_bits=9")),
            // RFC 6455 §9.1: "the value after quoted-string unescaping MUST conform to the 'token' ABNF".
            (
                "permessage-deflate; server_max_window_bits=\"1\\0\"",
                Some("permessage-deflate; server_max_window_bits=10"),
            ),
            // RFC 7692 §7.1: "an extension parameter with an invalid value".
            ("permessage-deflate; server_max_window_bits", None),
            ("permessage-deflate; server_max_window_bits=7", None),
            ("permessage-deflate; server_max_window_bits=16", None),
            ("permessage-deflate; server_max_window_bits=010", None),
            ("permessage-deflate; server_max_window_bits=+10", None),
            ("permessage-deflate; server_max_window_bits=1000", None),
            ("permessage-deflate; client_max_window_bits=x", None),
            ("permessage-deflate; server_no_context_takeover=1", None),
            ("permessage-deflate; client_no_context_takeover=true", None),
            // "An extension parameter not defined for use in an offer".
            ("permessage-deflate; mem_level=8", None),
            ("permessage-deflate; Server_no_context_takeover", None),
            // "Multiple extension parameters with the same name".
            ("permessage-deflate; client_max_window_bits; client_max_window_bits=10", None),
            ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
            ("permessage-deflate; server_max_window_bits=10; server_max_window_bits=10", None),
            // Others are not ours to accept.
            ("x-webkit-deflate-frame", None),
            ("permessage-bzip2", None),
        ];
        for (offer, answer) in table {
            assert_eq!(accepted(&[offer], plain()).as_deref(), *answer, "{offer:?}");
        }
        assert_eq!(accepted(&[], plain()), None);
    }

    /// RFC 7692 §5.1: a client may make several offers, the preferred one first.
    #[test]
    fn of_several_offers_the_first_that_is_acceptable_is_accepted() {
        for offers in [
            &["permessage-deflate; server_max_window_bits=10, permessage-deflate"][..],
            &["permessage-deflate; x, permessage-deflate; server_max_window_bits=10, permessage-deflate"],
            &["foo, permessage-deflate; server_max_window_bits=99", "permessage-deflate; server_max_window_bits=10"],
        ] {
            let answer = accepted(offers, plain());
            assert_eq!(answer.as_deref(), Some("permessage-deflate; server_max_window_bits=10"), "{offers:?}");
        }
    }

    #[test]
    fn a_server_says_what_it_wants_as_far_as_it_may() {
        let wishes = Deflate::default().no_context_takeover().server_max_window_bits(11).client_max_window_bits(12);
        let both = "permessage-deflate; server_no_context_takeover; server_max_window_bits=11; \
                    client_no_context_takeover";
        assert_eq!(accepted(&["permessage-deflate"], wishes).as_deref(), Some(both));
        assert_eq!(
            accepted(&["permessage-deflate; client_max_window_bits; server_max_window_bits=13"], wishes),
            Some(format!("{both}; client_max_window_bits=12"))
        );
        assert_eq!(
            accepted(&["permessage-deflate; client_max_window_bits=10; server_max_window_bits=9"], wishes),
            Some(format!("{both}; client_max_window_bits=10").replace("bits=11", "bits=9"))
        );
    }

    #[test]
    fn what_a_client_offers() {
        assert_eq!(offer(&plain()), "permessage-deflate; client_max_window_bits");
        assert_eq!(offer(&Deflate::default()), "permessage-deflate; client_max_window_bits=12");
        let all = Deflate::default().no_context_takeover().server_max_window_bits(8).client_max_window_bits(8);
        let offered = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                       server_max_window_bits=9; client_max_window_bits=9";
        assert_eq!(offer(&all), offered);
        assert!(accepted(&["permessage-deflate; client_max_window_bits=12"], plain()).is_some());
    }

    #[test]
    fn answers_that_a_client_takes_and_those_that_it_fails() {
        let bare = Deflate::default().client_max_window_bits(15);
        let narrow = Deflate::default().server_max_window_bits(10).client_max_window_bits(10);
        let alone = bare.no_context_takeover();
        let table: &[(Deflate, &str, Option<&str>)] = &[
            (bare, "permessage-deflate", Some("permessage-deflate")),
            // §7.1.2.1: "A server MAY include" it in a response "even if the [..] offer [..] didn't include" it. Common
            // servers do.
            (
                bare,
                "permessage-deflate; server_max_window_bits=12",
                Some("permessage-deflate; server_max_window_bits=12"),
            ),
            (
                bare,
                "permessage-deflate; server_max_window_bits=15",
                Some("permessage-deflate; server_max_window_bits=15"),
            ),
            (
                bare,
                "permessage-deflate; client_max_window_bits=8",
                Some("permessage-deflate; client_max_window_bits=8"),
            ),
            (
                bare,
                "permessage-deflate; server_no_context_takeover",
                Some("permessage-deflate; server_no_context_takeover"),
            ),
            (
                bare,
                "permessage-deflate; client_no_context_takeover",
                Some("permessage-deflate; client_no_context_takeover"),
            ),
            (
                narrow,
                "permessage-deflate; server_max_window_bits=10",
                Some("permessage-deflate; server_max_window_bits=10; client_max_window_bits=10"),
            ),
            // §7.1.2.1: "the same or smaller value".
            (narrow, "permessage-deflate; server_max_window_bits=11", None),
            (narrow, "permessage-deflate", None),
            // §7.1.2.2: what the client uses is its own affair, up to what the server says.
            (
                narrow,
                "permessage-deflate; server_max_window_bits=10; client_max_window_bits=15",
                Some("permessage-deflate; server_max_window_bits=10; client_max_window_bits=10"),
            ),
            // §7.1.1.1: "by including" it; what the client does is its own affair.
            (alone, "permessage-deflate", None),
            (
                alone,
                "permessage-deflate; server_no_context_takeover",
                Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
            ),
            // §7.1.2.2: in a response it has a value.
            (bare, "permessage-deflate; client_max_window_bits", None),
            (bare, "permessage-deflate; client_max_window_bits=16", None),
            (bare, "permessage-deflate; server_max_window_bits=7", None),
            (bare, "permessage-deflate; server_max_window_bits", None),
            (bare, "permessage-deflate; x", None),
            (bare, "permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
            // More than was offered.
            (bare, "permessage-deflate, permessage-deflate", None),
            (bare, "permessage-deflate, foo", None),
            (bare, "foo", None),
            (bare, "", None),
            (bare, "permessage-deflate;", None),
        ];
        for (config, answer, agreed) in table {
            assert_eq!(judged(&[answer], *config).as_deref(), *agreed, "{answer:?}");
        }
        assert_eq!(judged(&["permessage-deflate", "permessage-deflate"], bare), None);
    }

    /// Whatever a client offers and a server wishes, they understand each other.
    #[test]
    fn both_sides_agree_on_the_same() {
        let mut configs = alloc::vec::Vec::new();
        for alone in [(false, false), (true, false), (false, true), (true, true)] {
            // Nobody has to check them: those beyond the range count as its ends.
            for bits in [(15, 15), (15, 8), (8, 15), (9, 12), (12, 9), (0, 255), (64, 7)] {
                configs.push(
                    Deflate::default()
                        .server_no_context_takeover(alone.0)
                        .client_no_context_takeover(alone.1)
                        .server_max_window_bits(bits.0)
                        .client_max_window_bits(bits.1),
                );
            }
        }
        for client in &configs {
            for server in &configs {
                let offer = Compression::offer(client);
                let answer = Compression::accept([offer.as_bytes()], server).unwrap();
                let agreed = Compression::accepted([answer.to_string().as_bytes()], client).unwrap();
                assert_eq!(agreed, answer, "{offer}");
                for bits in [agreed.server_max_window_bits(), agreed.client_max_window_bits()] {
                    assert!(WINDOW_BITS.contains(&bits), "{offer}: {answer}");
                }
            }
        }
    }
}
