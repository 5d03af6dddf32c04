//! Columns of one name get numbers where only their positions count, and are refused elsewhere.

use super::{nexmark, refusals::refused};

const SIDES: &str = "TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10' SECOND)) A \
     JOIN TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10' SECOND)) B \
     ON A.window_start = B.window_start AND A.window_end = B.window_end";

#[track_caller]
fn names(sql: &str) -> String {
    let planned = nexmark(sql).unwrap_or_else(|error| panic!("{sql}\n  gives: {error}"));
    let fields = planned.queries.first().expect("a query").schema.fields().clone();
    fields.iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_query_gives_columns_of_one_name_with_numbers() {
    assert_eq!(names("SELECT auction, auction FROM bid"), "auction auction_2");
    assert_eq!(names("SELECT price AS x, url AS x, bidder AS x FROM bid"), "x x_2 x_3");
    assert_eq!(names("SELECT price AS x, url AS x_2, bidder AS x FROM bid"), "x x_2 x_3");
    assert_eq!(names(&format!("SELECT A.price, B.price FROM {SIDES}")), "price price_2");
    assert_eq!(names("SELECT person.name, person.name FROM nexmark"), "name name_2");
    assert_eq!(names("SELECT lower(url), lower(url) FROM bid"), "lower(url) lower(url)_2");
    assert_eq!(names("SELECT * FROM (SELECT auction FROM bid) UNION ALL SELECT bidder FROM bid"), "auction");
    assert_eq!(names("SELECT auction, auction FROM bid UNION ALL (SELECT price, price FROM bid)"), "auction auction_2");
}

#[test]
fn a_star_and_a_column_of_it_have_two_names() {
    let bid = "(SELECT auction, price FROM bid) AS b";
    assert_eq!(names(&format!("SELECT *, auction FROM {bid}")), "auction price auction_2");
    assert_eq!(names(&format!("SELECT *, price + 1 AS price FROM {bid}")), "auction price price_2");
    assert_eq!(names(&format!("SELECT price, b.* FROM {bid}")), "price_2 auction price");
}

#[test]
fn lists_of_names_take_columns_by_their_places() {
    assert_eq!(names("CREATE VIEW v (a, b) AS SELECT price, price FROM bid; SELECT b, a FROM v"), "b a");
    assert_eq!(names("WITH c (a, b) AS (SELECT price, price FROM bid) SELECT b FROM c"), "b");
    assert_eq!(names("SELECT b FROM (SELECT price, price FROM bid) AS c (a, b)"), "b");
}

#[test]
fn an_insert_goes_by_places() {
    let sink = "CREATE TABLE s (a BIGINT, b BIGINT) WITH ('connector' = 'print');";
    for select in [
        "SELECT price, price FROM bid".to_owned(),
        "SELECT price AS x, bidder AS x FROM bid".to_owned(),
        format!("SELECT A.price, B.price FROM {SIDES}"),
    ] {
        for insert in ["INSERT INTO s", "INSERT INTO s (b, a)"] {
            let planned = nexmark(&format!("{sink} {insert} {select}"));
            assert!(planned.is_ok(), "{insert} {select}: {planned:?}");
        }
    }
}

#[test]
fn two_columns_of_one_name_are_refused_where_names_are_used() {
    refused("SELECT price FROM (SELECT price, price FROM bid)", 27, "two columns of one query are named 'price'");
    refused("CREATE VIEW v AS SELECT price, price FROM bid", 32, "two columns of one query are named 'price'");
    refused("CREATE VIEW v AS SELECT price AS x, url AS x FROM bid", 44, "are named 'x'");
    refused("WITH c AS (SELECT *, price FROM bid) SELECT * FROM c", 22, "are named 'price'");
    refused(
        "SELECT count(*) AS c, max(price) AS c FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '1' DAY)) \
         GROUP BY window_start, window_end HAVING c > 1",
        37,
        "are named 'c'",
    );
}
