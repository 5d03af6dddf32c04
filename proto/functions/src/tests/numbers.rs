//! Functions of numbers, and of values of any type that are compared.

use super::*;

#[test]
fn numbers_and_their_types() {
    check("log", &[d(10.0)], "2.302585092994046");
    check("log", &[i(10), i(100)], "2.0");
    check("log", &[d(-1.0)], "NaN");
    check("log", &[i(1), i(100)], "inf");
    check("log", &[ScalarValue::Float64(None), i(1)], "NULL");
    check("ln", &[i(0)], "-inf");
    check("log2", &[i(10)], "3.3219280948873626");
    check("log10", &[i(1000)], "3.0");
    check("sqrt", &[i(25)], "5.0");
    check("sqrt", &[d(-1.0)], "NaN");
    check("asin", &[d(2.0)], "NaN");
    check("acos", &[d(2.0)], "NaN");
    check("power", &[i(2), i(3)], "8.0");
    check("power", &[d(-8.0), d(0.5)], "NaN");
    check("floor", &[i(43)], "43");
    check("floor", &[d(-4.5)], "-5.0");
    check("ceil", &[ScalarValue::Float32(Some(4.5))], "5.0");
    check("floor", &[decimal(-12311231, 10, 4)], "-1232");
    check("ceil", &[decimal(-12311231, 10, 4)], "-1231");
    check("ceiling", &[decimal(11, 3, 1)], "2");
    check("round", &[decimal(125315, 6, 3)], "125");
    check("round", &[decimal(-125315, 6, 3), i(2)], "-125.320");
    check("round", &[decimal(999, 3, 0), i(-1)], "1000");
    check("round", &[d(1.005), i(2)], "1.01");
    check("round", &[d(-2.5)], "-3.0");
    check("round", &[d(1.2345), i(3)], "1.235");
    check("round", &[d(1e300), i(2)], "1e300");
    check("round", &[d(f64::NAN), i(2)], "NaN");
    check("round", &[ScalarValue::Int8(Some(123)), i(-2)], "100");
    check("round", &[i(44), i(-1)], "40");
    check("round", &[i(44), NO_INT], "NULL");
    check("round", &[i(44), i(3)], "44");
    refused("round", &[ScalarValue::Int8(Some(127)), i(-1)], "");
    check("truncate", &[d(42.324), i(2)], "42.32");
    check("truncate", &[d(0.29), i(2)], "0.29");
    check("truncate", &[d(42.324)], "42.0");
    check("truncate", &[i(42), i(-1)], "40");
    check("truncate", &[i(42), i(-3)], "0");
    check("truncate", &[decimal(-1231, 10, 4), i(3)], "-0.1230");
    check("truncate", &[decimal(-1231, 10, 4)], "0");
    check("sign", &[big(-44)], "-1");
    check("sign", &[d(0.0)], "0.0");
    check("sign", &[decimal(-12311231, 10, 4)], "-1.0000");
    check("e", &[], "2.718281828459045");
}

#[test]
fn the_greatest_and_the_least() {
    check("greatest", &[i(1), big(3), i(2)], "3");
    check("greatest", &[i(1), NO_INT], "NULL");
    check("least", &[t("b"), t("a")], "a");
    check("least", &[d(f64::NAN), d(1.0)], "1.0");
    check("greatest", &[d(f64::NAN), d(1.0)], "NaN");
    check("greatest", &[decimal(15, 2, 1), d(1.25)], "1.5");
    refused("greatest", &[i(1), t("a")], "GREATEST(value, …)");
}
