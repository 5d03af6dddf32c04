//! Where in a trace a message belongs: what travels between processes, so that their spans form one tree.
//!
//! A context is never a reason to refuse what it came with: one that cannot be read counts as none, as do the zero ids of older
//! peers. It is not replicated: a new leader begins traces of its own.

use std::fmt;

/// A trace, the span in it that work is done for, and whether anybody records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace: u128,
    span: u64,
    is_sampled: bool,
}

impl TraceContext {
    /// A context; `None` where an id is zero, which stands for none.
    #[must_use]
    pub fn new(trace: u128, span: u64, is_sampled: bool) -> Option<Self> {
        (trace != 0 && span != 0).then_some(Self { trace, span, is_sampled })
    }

    /// The trace's id.
    #[must_use]
    pub fn trace(self) -> u128 {
        self.trace
    }

    /// The span's id.
    #[must_use]
    pub fn span(self) -> u64 {
        self.span
    }

    /// Whether the trace is recorded.
    #[must_use]
    pub fn is_sampled(self) -> bool {
        self.is_sampled
    }

    /// Reads what `Display` writes, and what a later version of the standard may append to it; `None` where it is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let mut part = |digits: usize| parts.next().filter(|part| is_hexadecimal(part, digits));
        let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        let has_more = parts.next().is_some();
        if version == "ff" || (version == "00" && has_more) {
            return None;
        }
        let flags = u8::from_str_radix(flags, 16).ok()?;
        Self::new(u128::from_str_radix(trace, 16).ok()?, u64::from_str_radix(span, 16).ok()?, flags & 1 == 1)
    }
}

/// As the header `traceparent` of the W3C's Trace Context.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.is_sampled))
    }
}

fn is_hexadecimal(part: &str, digits: usize) -> bool {
    part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_standard_is_read() {
        let context = TraceContext::parse(TEXT).unwrap();
        assert_eq!(
            (context.trace(), context.span()),
            (0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7)
        );
        assert!(context.is_sampled());
        assert_eq!(context.to_string(), TEXT);
        assert!(!TraceContext::parse(&TEXT.replace("-01", "-00")).unwrap().is_sampled());
    }

    #[test]
    fn a_later_version_may_say_more_and_this_one_may_not() {
        assert_eq!(TraceContext::parse(&format!("01{}-more", &TEXT[2..])), TraceContext::parse(TEXT));
        for wrong in [
            "",
            "00",
            &format!("{TEXT}-more"),
            &format!("ff{}", &TEXT[2..]),
            &TEXT.to_uppercase(),
            &TEXT.replace("00f067aa0ba902b7", "0000000000000000"),
            &TEXT.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            &TEXT.replace("-01", "-+1"),
        ] {
            assert_eq!(TraceContext::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(trace in 1u128.., span in 1u64.., is_sampled: bool) {
            let context = TraceContext::new(trace, span, is_sampled);
            prop_assert_eq!(TraceContext::parse(&context.unwrap().to_string()), context);
        }

        #[test]
        fn whatever_comes_is_no_panic(text in "\\PC*") {
            _ = TraceContext::parse(&text);
        }
    }
}
