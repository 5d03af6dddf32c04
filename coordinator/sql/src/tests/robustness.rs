//! Planning answers any text with a graph or an error, never with a panic.

use proptest::prelude::*;

use super::{NEXMARK, checker, nexmark, plan_text};

const QUERIES: &[&str] = &[
    "SELECT auction, 0.908 * price AS p, CASE WHEN price > 3 THEN 'a' ELSE channel END FROM bid WHERE url LIKE '%x%' AND bidder IN (1, 2)",
    "SELECT auction, count(*) AS n, sum(price) FILTER (WHERE bidder > 3), window_end FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10' SECOND)) GROUP BY auction, window_start, window_end HAVING count(*) > 2",
    "SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, auction ORDER BY price DESC) AS rn FROM TABLE(HOP(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '2' SECOND, INTERVAL '10' SECOND))) WHERE rn <= 3",
    "SELECT bidder, avg(price), window_start FROM TABLE(SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR(dateTime), INTERVAL '10' SECOND)) GROUP BY bidder, window_start, window_end",
    "SELECT L.auction, R.id FROM (SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10' SECOND))) L JOIN (SELECT * FROM TABLE(TUMBLE(TABLE auction, DESCRIPTOR(dateTime), INTERVAL '10' SECOND))) R ON L.auction = R.id AND L.window_start = R.window_start AND L.window_end = R.window_end AND L.price > R.reserve",
    "CREATE TABLE t (a ROW<b ROW<c INT>, d MAP<STRING, ARRAY<INT>>>, ts TIMESTAMP(3), e AS a.b.c + 1, WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) WITH ('connector' = 'datagen', 'splits' = '2'); SELECT a.b.c, e FROM t",
    "CREATE TABLE s (a BIGINT, b STRING) WITH ('connector' = 'print'); INSERT INTO s (b, a) SELECT channel, price FROM bid UNION ALL SELECT itemName, id FROM auction",
];

#[test]
fn the_queries_that_are_mutated_plan() {
    for query in QUERIES {
        let planned = nexmark(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        checker::check(&planned.graph.expect("each has a query"));
    }
}

/// Such chains are far deeper than a thread's stack allows. The parser refuses only what parentheses nest.
#[test]
fn long_chains_are_planned_or_refused() {
    for (chain, terms) in [(" OR price = 1", 400), (" AND price <> 2", 400), (" OR url LIKE 'x'", 400)] {
        nexmark(&format!("SELECT price FROM bid WHERE price = 0{}", chain.repeat(terms))).expect("it can be planned");
    }
    for sign in [" + 1", " IS NULL", " || url"] {
        let chain = |terms| nexmark(&format!("SELECT price{} AS x FROM bid", sign.repeat(terms)));
        // This length may be planned or refused, depending on the optimizer.
        let _ = chain(520);
        let refused = chain(100_000).expect_err("it is too long").to_string();
        assert!(refused.contains("more than 8000 words and signs in one another"), "{refused}");
    }
    let listed = (0..9000).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    nexmark(&format!("SELECT price FROM bid WHERE price IN ({listed})")).expect("it can be planned");
}

/// Chains as long as people, and programs that generate queries, write them.
#[test]
fn chains_of_one_operator_are_flat() {
    let chain = |first: &str, link: &dyn Fn(usize) -> String| {
        let links: String = (1..5000).map(link).collect();
        let sql = format!("SELECT price, {first}{links} AS x FROM bid");
        nexmark(&sql).unwrap_or_else(|error| panic!("{}: {error}", link(0)));
    };
    chain("price <> 0", &|n| format!(" AND price <> {n}"));
    chain("price = 0", &|n| format!(" OR price = {n}"));
    chain("CAST(price AS DOUBLE)", &|_| " + price".to_owned());
    chain("price", &|_| " - 1".to_owned());
    chain("url", &|_| " || url".to_owned());
    let branches: String = (1..2000).map(|n| format!(" UNION ALL SELECT price + {n} FROM bid")).collect();
    let planned = nexmark(&format!("SELECT price AS p FROM bid{branches}")).expect("it can be planned");
    assert!(planned.graph.expect("a query").operators.len() > 2000);
}

/// Here commas separate parts that are nested all the same.
#[test]
fn deep_types_and_many_branches_are_refused() {
    let deep = format!("CREATE TABLE t (a {}INT) WITH ('connector' = 'datagen')", "ROW<x INT, y ".repeat(100_000));
    assert!(plan_text(&deep).expect_err("it is too deep").to_string().contains("in one another"));
    let branch = "SELECT price, auction FROM bid";
    let branches = |count: usize| format!("{branch}{}", format!(" UNION ALL {branch}").repeat(count));
    let refused = nexmark(&branches(20_000)).expect_err("they are too many").to_string();
    assert!(refused.contains("at most 10000 branches of UNION ALL"), "{refused}");
    let named = (1..20_000).map(|n| format!(", c{n} AS (SELECT price, auction FROM c{})", n - 1)).collect::<String>();
    assert!(nexmark(&format!("WITH c0 AS ({branch}){named} SELECT price FROM c19999")).is_err());
    nexmark(&branches(100)).expect("it can be planned");
}

/// Each of these words may be a name, so if something behind it is wrong the parser reads it a second time.
#[test]
fn what_is_wrong_behind_many_words_that_may_be_names_is_told_soon() {
    for wrong in ["price +", "FROM", "price AS", "'x' 'y' ,"] {
        let casts = format!("{}{wrong}{}", "CAST(".repeat(20), " AS INT)".repeat(20));
        nexmark(&format!("SELECT {casts} FROM bid")).expect_err("it is wrong");
    }
    let deep = format!("{}price{}", "CHAR_LENGTH(CAST(".repeat(40), " AS STRING))".repeat(40));
    nexmark(&format!("SELECT {deep} FROM bid")).expect_err("it is too deep");
}

/// These few words ask for 2^30 tables.
#[test]
fn what_doubles_is_refused_before_it_is_planned() {
    let with = (1..31)
        .map(|n| format!(", c{n} AS (SELECT a.price FROM c{b} a UNION ALL SELECT b.price FROM c{b} b)", b = n - 1));
    let with: String = with.collect();
    let refused =
        nexmark(&format!("WITH c0 AS (SELECT price FROM bid){with} SELECT price FROM c30")).expect_err("it doubles");
    assert!(refused.to_string().contains("at most 2000 tables"), "{refused}");
    let windows = "WITH w AS (SELECT * FROM bid UNION ALL SELECT * FROM bid) SELECT price FROM TABLE(TUMBLE(TABLE w, DESCRIPTOR(dateTime), INTERVAL '1' SECOND))";
    nexmark(windows).expect("it can be planned");
    let mut script = "CREATE VIEW v0 AS SELECT price FROM bid;".to_owned();
    for n in 1..31 {
        script += &format!("CREATE VIEW v{n} AS SELECT price FROM v{b} UNION ALL (SELECT price FROM v{b});", b = n - 1);
    }
    let refused = nexmark(&format!("{script} SELECT price FROM v30")).expect_err("it doubles").to_string();
    assert!(refused.contains("at most 2000 tables"), "{refused}");
}

/// Each call has a long first argument and a long chain behind it. All of it is nested.
#[test]
fn chains_behind_closed_parentheses_count_what_was_within_them() {
    let chain = " + price".repeat(1500);
    let nested = (0..8).fold("price".to_owned(), |inner, _| format!("abs({inner}{chain})"));
    let listed = (0..8).fold("price".to_owned(), |inner, _| format!("nullif({inner}{chain}, 1)"));
    for expression in [nested, listed] {
        let refused = nexmark(&format!("SELECT {expression} FROM bid")).expect_err("it is too deep").to_string();
        assert!(refused.contains("in one another"), "{refused}");
    }
}

fn words(sql: &str) -> Vec<String> {
    let mut made = vec![String::new()];
    for letter in sql.chars() {
        let joins = letter.is_alphanumeric() || letter == '_';
        let last = made.last_mut().expect("never empty");
        let fits = last.is_empty() || (joins && last.chars().all(|known| known.is_alphanumeric() || known == '_'));
        if fits { last.push(letter) } else { made.push(letter.to_string()) }
    }
    made
}

#[derive(Debug, Clone)]
enum Mutation {
    Drop(prop::sample::Index),
    Repeat(prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
    Replace(prop::sample::Index, String),
    Borrow(prop::sample::Index, prop::sample::Index, prop::sample::Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<prop::sample::Index>;
    let word = prop::sample::select(vec![
        "",
        "0",
        "-1",
        "1e400",
        "NULL",
        "''",
        "'é'",
        "window_start",
        "window_end",
        "window_time",
        "count",
        "price",
        "bid",
        "nexmark",
        "OVER",
        "DISTINCT",
        "(",
        ")",
        ",",
        "*",
        "99999999999999999999",
        "INTERVAL",
        "CAST(",
        " AS INT)",
        "`",
        "--",
    ]);
    prop_oneof![
        index().prop_map(Mutation::Drop),
        index().prop_map(Mutation::Repeat),
        (index(), index()).prop_map(|(a, b)| Mutation::Swap(a, b)),
        (index(), word).prop_map(|(a, word)| Mutation::Replace(a, word.to_owned())),
        (index(), index(), index()).prop_map(|(a, b, c)| Mutation::Borrow(a, b, c)),
    ]
}

fn mutated(query: &str, mutations: &[Mutation]) -> String {
    let mut words = words(query);
    for mutation in mutations {
        if words.is_empty() {
            break;
        }
        let len = words.len();
        match mutation {
            Mutation::Drop(at) => drop(words.remove(at.index(len))),
            Mutation::Repeat(at) => words.insert(at.index(len), words[at.index(len)].clone()),
            Mutation::Swap(one, other) => words.swap(one.index(len), other.index(len)),
            Mutation::Replace(at, word) => words[at.index(len)].clone_from(word),
            Mutation::Borrow(at, from, word) => {
                let others = self::words(QUERIES[from.index(QUERIES.len())]);
                words[at.index(len)].clone_from(&others[word.index(others.len())]);
            }
        }
    }
    words.concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn mutated_queries_are_answered(query in prop::sample::select(QUERIES), mutations in prop::collection::vec(mutation(), 1..4)) {
        let script = format!("{NEXMARK}{}", mutated(query, &mutations));
        match plan_text(&script) {
            Ok(planned) => {
                if let Some(graph) = planned.graph {
                    checker::check(&graph);
                }
            }
            Err(error) => prop_assert!(error.line.is_some(), "no place: {}", error),
        }
    }

    #[test]
    fn any_text_is_answered(text in "\\PC{0,60}") {
        let _ = plan_text(&text);
        let _ = crate::split_statements(&text);
        let _ = crate::is_complete(&text);
        let _ = crate::catalog(&text);
    }
}

fn nested(open: &str, inner: &str, close: &str, levels: usize) -> String {
    format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
}

/// The log keeps what is accepted, so it must be possible to read it again.
#[test]
fn deep_types_are_read_again_or_refused() {
    let declared = |open: &str, close: &str, levels: usize| {
        let data_type = nested(open, "TIMESTAMP(3)", close, levels);
        plan_text(&format!(
            "CREATE TABLE t (s STRING, i {data_type}) WITH ('connector' = 'blackhole'); \
                   CREATE TABLE u (s STRING, i {data_type}) WITH ('connector' = 'filesystem', 'path' = '/x', 'format' = 'json'); \
                   SELECT i FROM u; INSERT INTO t SELECT s, CAST(NULL AS {data_type}) FROM u"
        ))
    };
    let built = |open: &str, close: &str, levels: usize| {
        nexmark(&format!(
            "SELECT {} AS x, {} AS y FROM bid",
            nested(open, "url", close, levels),
            nested(open, "1", close, levels)
        ))
    };
    let refused = "a type has at most 30 levels of ROW, ARRAY and MAP in one another, a MAP counts as two";
    for (open, close, most) in [("ARRAY<", ">", 30), ("ROW<x ", ">", 30), ("MAP<STRING, ", ">", 15)] {
        let graph =
            declared(open, close, most).unwrap_or_else(|error| panic!("{open}: {error}")).graph.expect("a query");
        assert_eq!(thalweg_types::JobGraph::from_bytes(&graph.to_bytes()).as_ref(), Ok(&graph), "{open}");
        for levels in [most + 1, 60, 3000] {
            let error = declared(open, close, levels).expect_err("it is too deep");
            assert!(error.message.contains(refused) && error.line.is_some(), "{open}: {error}");
        }
    }
    for (open, close, most) in [("ARRAY[", "]", 30), ("ROW(", ")", 30), ("MAP['a', ", "]", 15)] {
        let graph = built(open, close, most).unwrap_or_else(|error| panic!("{open}: {error}")).graph.expect("a query");
        assert_eq!(thalweg_types::JobGraph::from_bytes(&graph.to_bytes()).as_ref(), Ok(&graph), "{open}");
        for levels in [most + 1, 60, 3000] {
            let error = built(open, close, levels).expect_err("it is too deep");
            assert!(error.message.contains(refused) && error.line.is_some(), "{open}: {error}");
        }
    }
    let views: String = (1..40).map(|n| format!("CREATE VIEW v{n} AS SELECT ARRAY[i] AS i FROM v{};", n - 1)).collect();
    let error = nexmark(&format!("CREATE VIEW v0 AS SELECT url AS i FROM bid; {views}")).expect_err("it is too deep");
    assert!(error.message.contains(refused) && error.line.is_some(), "{error}");
}
