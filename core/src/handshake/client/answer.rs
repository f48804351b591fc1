//! Reads the answer to a request, from a server or from a proxy.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::response::{Response, unfold};
use crate::http::{Framing, HeadError, HeadReader};

/// Reads an answer: skips those that are not final, and of a refusal keeps the start of its body.
pub(in crate::handshake) struct AnswerReader {
    max_head: usize,
    /// The number of bytes of heads that may still come.
    room: usize,
    /// Whether a status agrees to what was asked for.
    agrees: fn(u16) -> bool,
    state: State,
}

enum State {
    Head(HeadReader),
    /// The peer has refused, and the body of its answer is being read.
    Body(Box<Response>, Framing),
    Done,
}

/// A final answer.
pub(in crate::handshake) enum Answer {
    /// The peer agrees: the minor version of its HTTP/1, and its head. What follows was not taken.
    Agreed(u8, Response),
    /// The peer refuses. The body is complete, or has [`MAX_BODY`](super::MAX_BODY) bytes.
    Refused(Box<Response>),
}

impl AnswerReader {
    /// Creates a reader of heads of at most `max_head` bytes, all together.
    pub(in crate::handshake) fn new(max_head: usize, agrees: fn(u16) -> bool) -> Self {
        Self { max_head, room: max_head, agrees, state: State::Head(HeadReader::response(max_head)) }
    }

    /// Takes bytes of the answer. Returns `None` if all were taken and more are needed. After a result it takes nothing
    /// more.
    pub(in crate::handshake) fn receive(&mut self, input: &mut &mut [u8]) -> Option<Result<Answer, HeadError>> {
        while let State::Head(reader) = &mut self.state {
            let head = reader.receive(input)?;
            if let Some(result) = head.and_then(|head| self.read_head(head)).transpose() {
                self.state = State::Done;
                return Some(result);
            }
        }
        let State::Body(response, framing) = &mut self.state else { return None };
        framing.receive(input, &mut response.body);
        if framing.is_complete(&response.body) {
            self.finish().map(|refusal| Ok(Answer::Refused(refusal)))
        } else {
            None
        }
    }

    /// Returns the refusal whose body is being read.
    pub(in crate::handshake) fn refusal(&self) -> Option<&Response> {
        match &self.state {
            State::Body(response, _) => Some(response),
            State::Head(_) | State::Done => None,
        }
    }

    /// Ends it. Returns the refusal whose body was being read.
    pub(in crate::handshake) fn finish(&mut self) -> Option<Box<Response>> {
        match core::mem::replace(&mut self.state, State::Done) {
            State::Body(response, _) => Some(response),
            State::Head(_) | State::Done => None,
        }
    }

    /// Returns `true` if there was a result.
    pub(in crate::handshake) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Reads a whole head. Returns `None` if there is more to read.
    fn read_head(&mut self, mut head: Vec<u8>) -> Result<Option<Answer>, HeadError> {
        unfold(&mut head);
        let (version, response) = Response::parse(&head, self.max_head)?;
        match response.status {
            status if (self.agrees)(status) => return Ok(Some(Answer::Agreed(version, response))),
            // RFC 9110 §15.2: "a client MUST be able to parse one or more 1xx responses received prior to a final
            // response". After a 101 no other answer comes: where it does not agree, it is a refusal.
            100 | 102..=199 => {
                self.room = self.room.saturating_sub(head.len());
                self.state = State::Head(HeadReader::response(self.room));
            }
            status => {
                let framing = Framing::of(status, &response.headers);
                self.state = State::Body(Box::new(response), framing);
            }
        }
        Ok(None)
    }
}
