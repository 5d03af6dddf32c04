//! Functions of texts, and of patterns.

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::{Context, Poll, Waker},
};

use super::*;
use crate::budget;

#[test]
fn parts_of_texts() {
    let whole = || t("This is a test String.");
    check("substring", &[whole(), i(2)], "his is a test String.");
    check("substr", &[whole(), i(2), i(3)], "his");
    check("substr", &[whole(), i(2), i(100)], "his is a test String.");
    check("substr", &[whole(), i(100), i(10)], "");
    check("substr", &[whole(), i(2), i(-1)], "NULL");
    check("substr", &[t(""), i(1), i(-1)], "NULL");
    check("substr", &[whole(), i(-2)], "g.");
    check("substr", &[whole(), i(-2), i(1)], "g");
    check("substr", &[whole(), i(-2), i(0)], "");
    check("substr", &[whole(), i(0), i(3)], "Thi");
    check("substr", &[t("abc"), i(-4)], "");
    check("substr", &[t("1世3"), i(1), i(2)], "1世");
    check("substr", &[NULL, i(1)], "NULL");
    check("substr", &[whole(), NO_INT], "NULL");
    check("left", &[whole(), i(2)], "Th");
    check("left", &[whole(), i(-2)], "");
    check("left", &[whole(), i(100)], "This is a test String.");
    check("left", &[NULL, i(-2)], "NULL");
    check("right", &[whole(), i(2)], "g.");
    check("right", &[whole(), i(-2)], "");
    check("right", &[t("äöü"), i(2)], "öü");
    check("right", &[whole(), NO_INT], "NULL");
    check("trim", &[t("  example  ")], "example");
    check("btrim", &[t("abcddcba"), t("abc")], "dd");
    check("btrim", &[t("心情开开心心"), t("开心")], "情");
    check("ltrim", &[t("This is a test String."), t("This ")], "a test String.");
    check("rtrim", &[t("abcddcba"), t("abd")], "abcddc");
    check("ltrim", &[t("abc"), NULL], "NULL");
    check("split_index", &[t("AQIDBA=="), t("I"), i(0)], "AQ");
    check("split_index", &[t("AQIDBA=="), t("I"), i(2)], "NULL");
    check("split_index", &[t("AQIDBA=="), t("I"), i(-1)], "NULL");
    check("split_index", &[t("AQIDBA=="), i(73), i(0)], "AQ");
    check("split_index", &[t("AQIDBA=="), i(256), i(0)], "NULL");
    check("split_index", &[t("AQIDBA=="), i(0), i(0)], "NULL");
    check("split", &[t("a,,b,"), t(",")], "[a, , b, ]");
    check("split", &[t("abc"), t("")], "[a, b, c]");
    check("split", &[t("abc"), t("x")], "[abc]");
    check("split", &[NULL, t("x")], "NULL");
    check("elt", &[i(2), t("a"), t("b")], "b");
    check("elt", &[NO_INT, t("a"), t("b")], "NULL");
    refused("elt", &[i(4), t("a"), t("b"), t("c")], "index 4 is out of range");
}

#[test]
fn texts_put_together() {
    check("concat", &[t("AA"), t("BB"), t("CC")], "AABBCC");
    check("concat", &[t("xx"), NULL], "NULL");
    check("concat", &[t("a"), i(1)], "a1");
    check("concat_ws", &[t("~"), NULL, t("AA"), t("BB"), t(""), NULL, t("CC")], "AA~BB~~CC");
    check("concat_ws", &[NULL, t("AA")], "NULL");
    check("concat_ws", &[t("~~"), t("AA")], "AA");
    check("lpad", &[t("hi"), i(5), t("??")], "???hi");
    check("lpad", &[t("hi"), i(1), t("??")], "h");
    check("lpad", &[t("111"), i(-2), t("??")], "NULL");
    check("lpad", &[t("ab"), i(5), t("")], "NULL");
    check("lpad", &[t("äää"), i(13), t("12345")], "1234512345äää");
    check("lpad", &[t("hi"), i(0), t("?")], "");
    check("rpad", &[t("äää"), i(13), t("12345")], "äää1234512345");
    check("rpad", &[t("üö"), i(1), t("??")], "ü");
    check("rpad", &[t("a"), NO_INT, t("??")], "NULL");
    refused("lpad", &[t("a"), big(1 << 40), t("x")], "larger than");
    check("repeat", &[t("ab"), i(2)], "abab");
    check("repeat", &[t("ab"), i(-1)], "");
    check("repeat", &[t(""), i(i32::MAX)], "");
    refused("repeat", &[t("ab"), i(i32::MAX)], "larger than");
    check("overlay", &[t("xxxxxtest"), t("xxxx"), i(6)], "xxxxxxxxx");
    check("overlay", &[t("xxxxxtest"), t("xxxx"), i(6), i(2)], "xxxxxxxxxst");
    check("overlay", &[t("123456789"), t("It"), i(-1), i(4)], "123456789");
    check("overlay", &[t("123456789"), t("abc"), i(2), i(100)], "1abc");
    check("overlay", &[t("123456789"), t("abc"), i(2), i(-1)], "1abc");
    check("overlay", &[t("123456789"), t("abc"), i(100), i(-1)], "123456789");
    check("overlay", &[t("abcd"), t("X"), i(3), i(0)], "abXcd");
    check("replace", &[t("ababab"), t("abab"), t("z")], "zab");
    check("replace", &[t("abc"), t(""), t("-")], "-a-b-c-");
    check("replace", &[t("abc"), t("b"), NULL], "NULL");
    check("translate", &[t("www.apache.org"), t("abcde."), t("123")], "www1p13horg");
    check("translate", &[t("www.apache.org"), NULL, t("123")], "www.apache.org");
    check("translate", &[t("www.apache.org"), t("abc"), NULL], "www.phe.org");
    check("translate", &[t("www.apache.org"), t("..."), t("123")], "www1apache1org");
    check("translate", &[NULL, t("abc"), t("123")], "NULL");
    check("initcap", &[t("fLinK is A str_ing")], "Flink Is A Str_Ing");
    check("chr", &[i(97)], "a");
    check("chr", &[i(97 + 256)], "a");
    check("chr", &[i(-9)], "");
    check("chr", &[i(0)], "\0");
    check("chr", &[i(149)], "\u{95}");
    check("chr", &[NO_INT], "NULL");
    refused("substr", &[i(12345), i(1)], "SUBSTRING(text, start [, length])");
}

#[test]
fn places_in_texts() {
    check("position", &[t("xxxtest"), t("test")], "4");
    check("strpos", &[t("xxxtest"), t("testx")], "0");
    check("strpos", &[t("日本語"), t("語")], "3");
    check("locate", &[t("aa"), t("aaads"), i(2)], "2");
    check("locate", &[t("test"), t("xxxtest")], "4");
    check("locate", &[t("a"), t("aXa"), i(2)], "3");
    check("locate", &[t("a"), t("abc"), NO_INT], "NULL");
    check("instr", &[t("Corporate Floor"), t("or"), i(3), i(2)], "14");
    check("instr", &[t("Corporate Floor"), t("or"), i(-3), i(2)], "2");
    check("instr", &[t("Tech on the net"), t("e"), i(1), i(3)], "14");
    check("instr", &[t("Tech on the net"), t("e"), i(-3), i(2)], "2");
    check("instr", &[t("myteststring"), t("st")], "5");
    check("instr", &[NULL, t("e")], "NULL");
    check("startswith", &[t("abc"), t("ab")], "true");
    check("startswith", &[t("abc"), t("")], "true");
    check("ends_with", &[t("a%c"), t("%c")], "true");
    check("starts_with", &[t("a\\c"), t("a\\")], "true");
    check("endswith", &[NULL, t("")], "NULL");
    check("is_alpha", &[t("abc")], "true");
    check("is_alpha", &[t("a1")], "false");
    check("is_alpha", &[NULL], "false");
    check("is_digit", &[t("123")], "true");
    check("is_digit", &[t("11.4445")], "false");
    check("is_digit", &[NULL], "false");
    check("is_decimal", &[t("11.4445")], "true");
    check("is_decimal", &[t("-1e5")], "true");
    check("is_decimal", &[t("abc")], "false");
    check("is_decimal", &[t("")], "false");
    check("is_decimal", &[NULL], "false");
}

#[test]
fn other_forms_of_texts() {
    check("to_base64", &[t("hello world")], "aGVsbG8gd29ybGQ=");
    check("to_base64", &[t("")], "");
    check("from_base64", &[t("5L2g5aW9")], "你好");
    check("from_base64", &[t("*")], "NULL");
    check("hex", &[i(100)], "64");
    check("hex", &[i(-1)], "FFFFFFFFFFFFFFFF");
    check("hex", &[t("hello,world")], "68656C6C6F2C776F726C64");
    check("bin", &[i(12)], "1100");
    check("bin", &[i(-1)], &"1".repeat(64));
    check("unhex", &[t("466C696E6B")], "466c696e6b");
    check("unhex", &[t("xy")], "NULL");
    check("md5", &[t("")], "d41d8cd98f00b204e9800998ecf8427e");
    check("sha1", &[t("test")], "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3");
    check("sha224", &[t("test")], "90a3ed9e32b2aaf4c61c410eb925426119e1a9dc53d4286ade99a809");
    check("sha2", &[t("test"), i(256)], "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08");
    check("sha2", &[NULL, i(256)], "NULL");
    refused("sha2", &[t("test"), i(1)], "expected 224");
    check("encode", &[t("中"), t("UTF-16LE")], "2d4e");
    check("decode", &[ScalarValue::Binary(Some(vec![0x2d, 0x4e])), t("utf-16le")], "中");
    refused("encode", &[t("a"), t("EBCDIC")], "unknown character set");
    check("url_encode", &[t("https://flink.apache.org/ ä")], "https%3A%2F%2Fflink.apache.org%2F+%C3%A4");
    check("url_decode", &[t("a%20b+c")], "a b c");
    check("url_decode", &[t("%2")], "NULL");
    let url = || t("http://userinfo@flink.apache.org:80/path?query=1#Ref");
    for (part, expected) in [
        ("HOST", "flink.apache.org"),
        ("PATH", "/path"),
        ("QUERY", "query=1"),
        ("REF", "Ref"),
        ("PROTOCOL", "http"),
        ("FILE", "/path?query=1"),
        ("AUTHORITY", "userinfo@flink.apache.org:80"),
        ("USERINFO", "userinfo"),
        ("host", "NULL"),
    ] {
        check("parse_url", &[url(), t(part)], expected);
    }
    check("parse_url", &[url(), t("QUERY"), t("query")], "1");
    check("parse_url", &[t("http://user:pass@host/?#"), t("QUERY")], "");
    check("parse_url", &[t("invalid://user:pass@host/"), t("HOST")], "NULL");
    check("str_to_map", &[t("k1=v1,k2=v2")], "{k1: v1, k2: v2}");
    check("str_to_map", &[t("k1$$v1|k2$$ v2"), t("\\|"), t("\\$\\$")], "{k1: v1, k2:  v2}");
    check("str_to_map", &[t("a=1,b,a=2")], "{a: 2, b: NULL}");
    check("str_to_map", &[t("")], "{}");
}

#[test]
fn patterns() {
    check("regexp", &[t("100-200"), t(r"(\d+)")], "true");
    check("regexp", &[t("abc-def"), t(r"(\d+)")], "false");
    check("regexp", &[NULL, t("a")], "NULL");
    check("regexp_replace", &[t("foobar"), t("oo|ar"), t("abc")], "fabcbabc");
    check("regexp_replace", &[t("fooobar"), t("oo"), t("$1")], "f$1obar");
    check("regexp_replace", &[t("foobar"), t("^f*.*r$"), t("")], "");
    check("regexp_replace", &[t("axb"), t("x*"), t("-")], "-a--b-");
    check("regexp_replace", &[t("foobar"), t("oo"), NULL], "NULL");
    check("regexp_extract", &[t("foothebar"), t("foo(.*?)(bar)"), i(2)], "bar");
    check("regexp_extract", &[t("foothebar"), t("foo(.*?)(bar)")], "foothebar");
    check("regexp_extract", &[t("foothebar"), t("foo([\\d]+)"), i(1)], "NULL");
    check("regexp_extract", &[t("foothebar"), t("foo"), i(3)], "NULL");
    check("regexp_extract_all", &[t("100-200, 300-400"), t(r"(\d+)-(\d+)")], "[100, 300]");
    check("regexp_extract_all", &[t("abcdeabde"), t("ab((c)|(.?))de"), i(2)], "[c, NULL]");
    check("regexp_extract_all", &[t("abcdeabde"), t("abcdeabde")], "NULL");
    check("regexp_extract_all", &[t("abc"), t(""), i(0)], "[, , , ]");
    check("regexp_extract_all", &[t("100-200"), t("[a-z]"), i(0)], "[]");
    check("regexp_count", &[t("abc123xyz456"), t(r"\d")], "6");
    check("regexp_count", &[t("Helloworld! Hello everyone!"), t(r"\bHello\b")], "1");
    check("regexp_instr", &[t("Helloworld! Hello everyone!"), t(r"\bHello\b")], "13");
    check("regexp_instr", &[t("abc"), t("z")], "0");
    check("regexp_substr", &[t("abc123"), t("[0-9]+")], "123");
    check("regexp_substr", &[t("abc"), t("[0-9]+")], "NULL");
    refused("regexp", &[t("a"), t("a(?=b)")], "looking ahead");
    refused("regexp_count", &[t("a"), t("(")], "unclosed group");
    check("like", &[t(r"a\b"), t(r"a\_")], "true");
    check("like", &[t("a_b"), t("a&_b"), t("&")], "true");
    check("like", &[t("axb"), t("a&_b"), t("&")], "false");
    check("like", &[t("a\nb"), t("a%")], "true");
    check("like", &[t("%This is a test"), t("&%Th_s%"), t("&")], "true");
    refused("like", &[t("a"), t("a&b"), t("&")], "escapes only");
    refused("like", &[t("a"), t("a"), t("ab")], "expected one character");
    check("similar_to", &[t("abc"), t("a%")], "true");
    check("similar_to", &[t("xabcx"), t("a%")], "false");
    check("similar_to", &[t("abc"), t("a_c")], "true");
    check("similar_to", &[t("abc"), t("a.c")], "false");
    check("similar_to", &[t("This is a test String"), t("This (is)? a (test)+ Strin_*")], "true");
    check("similar_to", &[t("*_x"), t("&*&__*"), t("&")], "true");
    check("similar_to", &[t("a1"), t("[a-z][[:DIGIT:]]{1,2}")], "true");
    check("similar_to", &[t("ab"), t("[^b-z]|b")], "false");
    refused("similar_to", &[t("a"), t("[a")], "not closed");
    refused("similar_to", &[t("a"), t("a+?")], "follows another");
}

/// None of these may be made to learn how large it is.
#[test]
fn no_function_makes_a_text_beyond_the_largest() {
    let large = t(&"x".repeat(1 << 20));
    let too_large = [
        ("replace", vec![large.clone(), t("x"), large.clone()]),
        ("regexp_replace", vec![large.clone(), t("x"), large.clone()]),
        ("concat", vec![large.clone(); 65]),
        ("concat_ws", [vec![t("")], vec![large.clone(); 65]].concat()),
        ("repeat", vec![large.clone(), ScalarValue::from(65_i64)]),
        ("split", vec![t(&"x".repeat(5 << 20)), t("")]),
    ];
    for (name, arguments) in too_large {
        let error = call(name, &arguments, true).expect_err(name).to_string();
        assert!(error.contains("larger than") || error.contains("more than"), "{name}: {error}");
    }
}

#[test]
fn occurrences_in_a_long_text_are_counted_in_one_pass() {
    let many = t(&"ä".repeat(200_000));
    check("instr", &[many, t("ä"), ScalarValue::from(1_i64), ScalarValue::from(199_999_i64)], "199999");
    check("translate", &[t("aabb"), t("aba"), t("xy")], "xxyy");
}

#[test]
fn distances_of_texts_are_counted_up_to_a_bound() {
    check("levenshtein", &[t("kitten"), t("sitting")], "3");
    check("levenshtein", &[t("ä"), t("a")], "1");
    check("levenshtein", &[t("abc"), t("")], "3");
    check("levenshtein", &[NULL, t("a")], "NULL");
    let long = |length: usize| t(&"ä".repeat(length));
    check("levenshtein", &[t(""), long(1_000_000)], "1000000");
    refused(
        "levenshtein",
        &[long(10_001), long(10_000)],
        "LEVENSHTEIN of 10001 and 10000 characters takes 100010000 comparisons, more than 100000000",
    );
    // What one row may take is more than rows of a batch may take together.
    let rows = [long(9000), long(9000)];
    let (made, is_used_up) = budget::within(Some(budget::BATCH_BYTES), || call("levenshtein", &rows, true));
    assert!(made.is_err() && is_used_up, "{made:?}");
}

/// Each match is found after a look at all that follows: without an end this would take hours.
#[test]
fn a_search_ends_when_nobody_waits_for_it() {
    let (text, pattern) = (t(&"A".repeat(200_000)), t(".*[^A-Z]|[A-Z]"));
    for (name, more) in [
        ("regexp_count", vec![]),
        ("regexp_replace", vec![t("")]),
        ("regexp_extract_all", vec![i(0)]),
        ("str_to_map", vec![]),
    ] {
        let arguments = [vec![text.clone(), pattern.clone()], more].concat();
        let asked = AtomicUsize::new(0);
        let is_over = Arc::new(move || asked.fetch_add(1, Relaxed) >= 4);
        let run = budget::until(is_over, async { budget::within(None, || call(name, &arguments, true)) });
        let Poll::Ready((made, is_used_up)) = pin!(run).poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("nothing is waited for")
        };
        let error = made.expect_err(name).to_string();
        assert!(is_used_up && error.contains("nobody waits"), "{name}: {error}");
        assert!(!budget::is_used_up(), "that was all");
    }
}
