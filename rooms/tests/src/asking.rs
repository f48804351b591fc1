//! What a broker is asked: who it is, and which channels are subscribed. By hand, since the clients that nodes use are
//! what is tested.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::PATIENCE;
use crate::broker::{Place, USER};

/// Whether the server that answers has this place's name.
pub(crate) fn nats_is_called(place: &Place) -> bool {
    let Ok(stream) = connect(place.port) else { return false };
    let mut line = String::new();
    let read = BufReader::new(stream).read_line(&mut line);
    read.is_ok() && line.starts_with("INFO ") && line.contains(&place.name)
}

/// Which subjects are subscribed, and how often.
pub(crate) fn nats_subjects(place: &Place, prefix: &str) -> BTreeMap<String, usize> {
    let answer = get(place.monitor, "/connz?subs=1&limit=10000").unwrap();
    let mut subjects = BTreeMap::new();
    for subject in answer.split('"').filter(|word| word.starts_with(prefix)) {
        *subjects.entry(subject.to_owned()).or_default() += 1;
    }
    subjects
}

fn get(port: u16, path: &str) -> io::Result<String> {
    let mut stream = connect(port)?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Whether the server that answers is this process.
pub(crate) fn redis_is_process(place: &Place, password: Option<&str>, id: u32) -> bool {
    let answer = redis(place, password, &["INFO", "server"]);
    answer.is_ok_and(|words| words.iter().any(|word| word.lines().any(|line| line == format!("process_id:{id}"))))
}

/// Which channels are subscribed, and by how many connections.
pub(crate) fn redis_channels(place: &Place, password: Option<&str>, prefix: &str) -> BTreeMap<String, usize> {
    let names = redis(place, password, &["PUBSUB", "CHANNELS", &format!("{prefix}*")]).unwrap();
    let mut command = vec!["PUBSUB", "NUMSUB"];
    command.extend(names.iter().map(String::as_str));
    let counts = redis(place, password, &command).unwrap();
    let pairs = counts.chunks(2).map(|pair| (pair[0].clone(), pair[1].parse().unwrap()));
    pairs.filter(|&(_, count)| count > 0).collect()
}

/// Tells Redis something: what it says, as words. One that fails over ends all connections, once.
pub(crate) fn redis(place: &Place, password: Option<&str>, command: &[&str]) -> io::Result<Vec<String>> {
    ask_redis(place, password, command).or_else(|error| match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
            ask_redis(place, password, command)
        }
        _ => Err(error),
    })
}

fn ask_redis(place: &Place, password: Option<&str>, command: &[&str]) -> io::Result<Vec<String>> {
    let mut stream = BufReader::new(connect(place.port)?);
    if let Some(password) = password {
        tell(&mut stream, &["AUTH", USER, password])?;
    }
    tell(&mut stream, command)
}

fn tell(stream: &mut BufReader<TcpStream>, command: &[&str]) -> io::Result<Vec<String>> {
    let mut request = format!("*{}\r\n", command.len());
    for word in command {
        request += &format!("${}\r\n{word}\r\n", word.len());
    }
    stream.get_mut().write_all(request.as_bytes())?;
    let mut words = Vec::new();
    reply(stream, &mut words)?;
    Ok(words)
}

/// Reads a reply of RESP2: the words in it, in order.
fn reply(stream: &mut BufReader<TcpStream>, words: &mut Vec<String>) -> io::Result<()> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let line = line.trim_end();
    let number = || line.get(1..).and_then(|number| number.parse::<i64>().ok()).unwrap_or(-1);
    match line.as_bytes().first() {
        Some(b'*') => (0..number()).try_for_each(|_| reply(stream, words)),
        Some(b'$') => {
            let mut word = vec![0; usize::try_from(number()).unwrap_or(0) + 2];
            stream.read_exact(&mut word)?;
            word.truncate(word.len() - 2);
            words.push(String::from_utf8_lossy(&word).into_owned());
            Ok(())
        }
        Some(b':' | b'+') => {
            words.push(line[1..].to_owned());
            Ok(())
        }
        _ => Err(io::Error::other(format!("Redis says {line:?}"))),
    }
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}
