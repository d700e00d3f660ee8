//! Mutations of inputs, by a seed: those of libFuzzer's that need no coverage.

/// Longer ones find nothing that shorter ones do not.
const LONGEST: usize = 4096;

/// Mutations without end.
pub(crate) struct Mutations<'a> {
    inputs: &'a [Vec<u8>],
    words: Vec<Vec<u8>>,
    random: u64,
}

impl<'a> Mutations<'a> {
    /// Of these inputs, with words to put into them. The same ones each time.
    pub(crate) fn new(inputs: &'a [Vec<u8>], words: Vec<Vec<u8>>) -> Self {
        Self {
            inputs,
            words,
            random: 1,
        }
    }

    /// The next one.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        let inputs = self.inputs;
        let mut input = inputs[self.below(inputs.len())].clone();
        for _ in 0..=self.below(4) {
            self.mutate(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        let (at, to) = (self.below(input.len() + 1), self.below(input.len() + 1));
        let (from, to) = (at.min(to), at.max(to));
        let byte = u8::try_from(self.below(256)).unwrap_or_default();
        match self.below(8) {
            0 => input.insert(at, byte),
            1 => drop(input.drain(from..to)),
            2 => {
                let part = input[from..to].to_vec();
                input.splice(at..at, part);
            }
            3 if !self.words.is_empty() => {
                let word = self.below(self.words.len());
                let word = self.words[word].clone();
                let end = if self.below(2) == 0 { from } else { to };
                input.splice(from..end, word);
            }
            4 => {
                let inputs = self.inputs;
                let other = &inputs[self.below(inputs.len())];
                input.truncate(at);
                input.extend(other.iter().skip(at));
            }
            5 => {
                let special = [0, 1, 0x7f, 0x80, 0xff, b'0', b'9', b'"'];
                let byte = special[self.below(special.len())];
                input
                    .get_mut(at)
                    .into_iter()
                    .for_each(|place| *place = byte);
            }
            6 => input
                .get_mut(at)
                .into_iter()
                .for_each(|place| *place ^= 1 << (byte % 8)),
            _ => input
                .get_mut(at)
                .into_iter()
                .for_each(|place| *place = byte),
        }
    }

    /// xorshift64*: even enough, and the same everywhere.
    fn below(&mut self, end: usize) -> usize {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let high = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap_or_default() % end.max(1)
    }
}

/// The words of a dictionary of libFuzzer's: `"…"` a line, `\xNN`, `\"` and `\\`
/// escaped.
pub(crate) fn words(text: &str) -> Vec<Vec<u8>> {
    let quoted = |line: &str| Some(line.trim().strip_prefix('"')?.strip_suffix('"')?.to_owned());
    text.lines()
        .filter_map(quoted)
        .map(|word| unescape(&word))
        .collect()
}

fn unescape(word: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), word);
    while let Some(first) = rest.chars().next() {
        let escaped = rest.strip_prefix("\\x").and_then(|hex| hex.get(..2));
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            None => {
                rest = rest.strip_prefix('\\').unwrap_or(rest);
                let first = rest.chars().next().unwrap_or(first);
                bytes.extend(first.to_string().bytes());
                rest = &rest[first.len_utf8().min(rest.len())..];
            }
        }
    }
    bytes
}
