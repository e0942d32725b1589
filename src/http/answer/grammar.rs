//! Makes answers for the comparison with hyper: by a grammar in which faults are frequent, and by mutation.

/// A source of random numbers (xorshift64*). The same seed gives the same answers.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        // Neighbouring seeds must not give similar numbers (splitmix64), and zero would stay zero.
        let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Self((mixed ^ (mixed >> 27)) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// A number below `limit`, which is not zero.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

const REASONS: [&[u8]; 8] = [b" OK", b" OK", b" OK", b" ", b"", b" Not Found", b" caf\xe9", b" a:\tb"];
const STATUS: [&str; 20] = [
    "200", "200", "200", "200", "200", "200", "200", "200", "201", "204", "205", "206", "304", "400", "404",
    "500", "503", "600", "999", "099",
];
const NAMES: [&str; 8] =
    ["X", "Auth-Status", "auth-user", "AUTH-STATUS", "Server", "x_1", "Set-Cookie", "!#$%"];
const VALUES: [&[u8]; 10] = [
    b"OK",
    b"",
    b"a b",
    b"a  b\t",
    b"\"q\"",
    b"caf\xc3\xa9",
    b"\xff",
    b"a\r\n b",
    b"a \r\n\t \r\n b\n\tc",
    b":",
];
const CONNECTION: [&[u8]; 12] = [
    b"close",
    b"keep-alive",
    b"Keep-Alive",
    b"CLOSE",
    b"keep-alive, close",
    b"close,keep-alive",
    b"TE",
    b"",
    b"keep-alive,\xff",
    b"x ,\tKeep-alive,",
    b"keep-alive,\r\n close",
    b"closed",
];
const CODINGS: [&str; 8] =
    ["gzip", "gzip, chunked", "chunked, chunked", "identity", "", "chunked;q=1", "chunked,", "Chunked"];
const EXTENSIONS: [&[u8]; 8] = [b" ", b"\t ", b";a=b", b" ; a=\"b\"", b";", b"  ;;\xff", b";a\rb", b";a\nb"];
const TRAILERS: [&[u8]; 8] = [
    b"X: y\r\n",
    b"a:\r\n",
    b"Content-Length: 5\r\n",
    b"caf\xe9: x\r\n",
    b": x\r\n",
    b"X: y\n",
    b" x\r\n",
    b"X : y\r\n",
];
const TAILS: [&[u8]; 5] =
    [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"\r\n", b"x", b"0\r\n\r\n", b"HTTP/1.1 103 X\r\n\r\n"];
const LINES: [&[u8]; 10] = [
    b"Content-Length: 5",
    b"Content-Length: 5, 5",
    b"content-length: +5",
    b"Content-Length:",
    b"Content-Length: 05",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding: gzip",
    b"Content-Length : 5",
    b"Content-Length: 18446744073709551615",
    b"Connection: close",
];
/// What a mutation writes.
const TOKENS: [&[u8]; 26] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\n\n",
    b"\n\r\n",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"0",
    b"5",
    b"f",
    b"\0",
    b"\xff",
    b"\x7f",
    b"HTTP/1.1 ",
    b"HTTP/1.0 ",
    b"chunked",
    b"close",
    b"keep-alive",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"0\r\n\r\n",
    b"\r\n ",
];

/// An answer by the grammar. Most are valid.
pub(super) fn answer(dice: &mut Dice) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let end: &[u8] = if dice.chance(12) { b"\n" } else { b"\r\n" };
    if dice.chance(4) {
        out.extend_from_slice(dice.pick(&[b"\r\n".as_slice(), b"\n", b"\r\n\r\n"]));
    }
    interim(dice, &mut out, end);
    let is_1_1 = dice.chance(80);
    let status = if dice.chance(1) { "101" } else { dice.pick(&STATUS) };
    out.extend_from_slice(if is_1_1 { b"HTTP/1.1 " } else { b"HTTP/1.0 " });
    out.extend_from_slice(status.as_bytes());
    out.extend_from_slice(dice.pick(&REASONS));
    out.extend_from_slice(end);
    let body = body(dice);
    let (framing, sent) = match dice.below(100) {
        0..45 => (length(dice, body.len()), body),
        // Few are of HTTP/1.0, where it is refused.
        45..80 if is_1_1 || dice.chance(10) => (b"Transfer-Encoding: chunked".to_vec(), chunks(dice, &body)),
        80..84 => (format!("Transfer-Encoding: {}", dice.pick(&CODINGS)).into_bytes(), chunks(dice, &body)),
        _ => (Vec::new(), body),
    };
    let mut lines = fields(dice);
    if !framing.is_empty() {
        lines.insert(dice.below(lines.len() + 1), in_some_case(dice, framing));
    }
    for line in lines {
        out.extend_from_slice(&line);
        out.extend_from_slice(end);
    }
    out.extend_from_slice(end);
    out.extend_from_slice(&sent);
    if dice.chance(8) {
        out.extend_from_slice(dice.pick(&TAILS));
    }
    out
}

/// Changes an answer in one to four places.
pub(super) fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>) {
    for _ in 0..=dice.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = dice.below(bytes.len());
        let to = (at + 1 + dice.below(8)).min(bytes.len());
        match dice.below(7) {
            0 => bytes[at] ^= 1_u8 << dice.below(8),
            1 => bytes[at] = dice.below(256) as u8,
            2 => bytes.insert(at, dice.below(256) as u8),
            3 => drop(bytes.drain(at..to)),
            4 => {
                let copy = bytes[at..to].to_vec();
                let place = dice.below(bytes.len());
                drop(bytes.splice(place..place, copy));
            }
            5 => drop(bytes.splice(at..at, dice.pick(&TOKENS).iter().copied())),
            _ => drop(bytes.splice(at..to, dice.pick(&TOKENS).iter().copied())),
        }
    }
}

fn interim(dice: &mut Dice, out: &mut Vec<u8>, end: &[u8]) {
    let count = match dice.below(200) {
        0 => 8 + dice.below(2),
        1..25 => 1 + dice.below(2),
        _ => 0,
    };
    for _ in 0..count {
        let lines: [&[u8]; 3] = [
            b"HTTP/1.1 100 Continue\n",
            b"HTTP/1.1 103 X\nLink: </x>\n",
            b"HTTP/1.0 199\nContent-Length: 4\n",
        ];
        for line in dice.pick(&lines).split_inclusive(|byte| *byte == b'\n') {
            out.extend_from_slice(&line[..line.len() - 1]);
            out.extend_from_slice(end);
        }
        out.extend_from_slice(end);
    }
}

fn fields(dice: &mut Dice) -> Vec<Vec<u8>> {
    let mut lines = Vec::with_capacity(8);
    for _ in 0..dice.below(5) {
        let mut line = dice.pick(&NAMES).as_bytes().to_vec();
        line.extend_from_slice(dice.pick(&[b": ".as_slice(), b":", b":\t ", b": ", b":\r\n "]));
        line.extend_from_slice(dice.pick(&VALUES));
        lines.push(line);
    }
    if dice.chance(35) {
        for _ in 0..=dice.below(2) {
            let line = [b"Connection: ".as_slice(), dice.pick(&CONNECTION)].concat();
            lines.push(in_some_case(dice, line));
        }
    }
    if dice.chance(3) {
        lines.push(dice.pick(&LINES).to_vec());
    }
    lines
}

/// The same with a name in capitals or in small letters.
fn in_some_case(dice: &mut Dice, mut line: Vec<u8>) -> Vec<u8> {
    let name = line.iter().position(|byte| *byte == b':').unwrap_or(0);
    match dice.below(3) {
        0 => line[..name].make_ascii_lowercase(),
        1 => line[..name].make_ascii_uppercase(),
        _ => {}
    }
    line
}

fn body(dice: &mut Dice) -> Vec<u8> {
    let length = if dice.chance(1) { dice.below(3000) } else { dice.below(24) };
    (0..length).map(|_| dice.pick(b"{}\":0a1\r\n \xff")).collect()
}

fn length(dice: &mut Dice, length: usize) -> Vec<u8> {
    let length = match dice.below(40) {
        0 => length + 1,
        1 => length.saturating_sub(1),
        _ => length,
    };
    let blank = dice.pick(&[" ", " ", "", "\t", "\r\n "]);
    format!("Content-Length:{blank}{length}").into_bytes()
}

fn chunks(dice: &mut Dice, mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 64);
    let mut is_last = false;
    while !is_last {
        let (data, rest) = body.split_at(if body.is_empty() { 0 } else { 1 + dice.below(body.len()) });
        (body, is_last) = (rest, data.is_empty());
        let size = match dice.below(60) {
            2..6 => format!("{:08x}", data.len()),
            1 => format!("{:017x}", data.len()),
            6..20 => format!("{:X}", data.len()),
            _ => format!("{:x}", data.len()),
        };
        out.extend_from_slice(size.as_bytes());
        if dice.chance(12) {
            out.extend_from_slice(dice.pick(&EXTENSIONS));
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(data);
        if !is_last {
            out.extend_from_slice(b"\r\n");
        }
    }
    if dice.chance(15) {
        for _ in 0..=dice.below(3) {
            out.extend_from_slice(dice.pick(&TRAILERS));
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}
