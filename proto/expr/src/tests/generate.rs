//! Generates expressions of all kinds.

use std::sync::Arc;

use arrow::datatypes::i256;
use arrow_schema::{DataType, Field, TimeUnit};
use datafusion_common::{Column, ScalarValue, scalar::ScalarStructBuilder};
use datafusion_expr::{
    AggregateUDF, Between, BinaryExpr, Case, Expr, Like, Operator, ScalarUDF,
    expr::{AggregateFunction, Alias, Cast, InList, NullTreatment, ScalarFunction, Sort, TryCast},
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{field, metadata};

pub(super) const OPERATORS: [Operator; 43] = {
    use Operator as O;
    [
        O::Eq,
        O::NotEq,
        O::Lt,
        O::LtEq,
        O::Gt,
        O::GtEq,
        O::Plus,
        O::Minus,
        O::Multiply,
        O::Divide,
        O::Modulo,
        O::And,
        O::Or,
        O::IsDistinctFrom,
        O::IsNotDistinctFrom,
        O::RegexMatch,
        O::RegexIMatch,
        O::RegexNotMatch,
        O::RegexNotIMatch,
        O::LikeMatch,
        O::ILikeMatch,
        O::NotLikeMatch,
        O::NotILikeMatch,
        O::BitwiseAnd,
        O::BitwiseOr,
        O::BitwiseXor,
        O::BitwiseShiftRight,
        O::BitwiseShiftLeft,
        O::StringConcat,
        O::AtArrow,
        O::ArrowAt,
        O::Arrow,
        O::LongArrow,
        O::HashArrow,
        O::HashLongArrow,
        O::AtAt,
        O::IntegerDivide,
        O::HashMinus,
        O::AtQuestion,
        O::Question,
        O::QuestionAnd,
        O::QuestionPipe,
        O::Colon,
    ]
};

const UNARY: [fn(Box<Expr>) -> Expr; 10] = [
    Expr::Not,
    Expr::Negative,
    Expr::IsNull,
    Expr::IsNotNull,
    Expr::IsTrue,
    Expr::IsNotTrue,
    Expr::IsFalse,
    Expr::IsNotFalse,
    Expr::IsUnknown,
    Expr::IsNotUnknown,
];

fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    datafusion_functions::all_default_functions()
}

fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    datafusion_functions_aggregate::all_default_aggregate_functions()
}

fn value() -> impl Strategy<Value = ScalarValue> {
    use ScalarValue as S;
    let list = vec(any::<Option<i64>>(), 0..4).prop_map(|items| {
        let items: Vec<S> = items.into_iter().map(S::Int64).collect();
        S::List(S::new_list(&items, &DataType::Int64, true))
    });
    let pair = any::<(Option<i64>, Option<bool>)>().prop_map(|(number, truth)| {
        let row = ScalarStructBuilder::new().with_scalar(Field::new("number", DataType::Int64, true), S::Int64(number));
        row.with_scalar(Field::new("truth", DataType::Boolean, true), S::Boolean(truth)).build().unwrap()
    });
    prop_oneof![
        pair,
        any::<Option<bool>>().prop_map(S::Boolean),
        any::<Option<i64>>().prop_map(S::Int64),
        any::<Option<u64>>().prop_map(S::UInt64),
        option::of(any::<u64>().prop_map(f64::from_bits)).prop_map(S::Float64),
        any::<Option<i128>>().prop_map(|value| S::Decimal128(value, 38, 6)),
        any::<Option<i128>>().prop_map(|value| S::Decimal256(value.map(i256::from_i128), 76, -6)),
        any::<Option<String>>().prop_map(S::Utf8View),
        any::<Option<Vec<u8>>>().prop_map(S::Binary),
        (any::<Option<i64>>(), option::of(select(vec!["UTC", "+02:00"])))
            .prop_map(|(value, zone)| S::TimestampMicrosecond(value, zone.map(Arc::from))),
        list,
    ]
}

/// A literal, and nothing else.
pub(super) fn literal() -> impl Strategy<Value = Expr> {
    value().prop_map(|value| Expr::Literal(value, None))
}

fn data_type() -> impl Strategy<Value = DataType> {
    prop_oneof![
        value().prop_map(|value| value.data_type()),
        Just(DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8))),
        Just(DataType::Struct(vec![field(DataType::Int8), field(DataType::LargeBinary)].into())),
    ]
}

/// A type, whether it has values or not.
pub(super) fn any_type() -> impl Strategy<Value = DataType> {
    let unit = || select(vec![TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond]);
    let leaf = prop_oneof![
        data_type(),
        select(vec![DataType::Null, DataType::Int8, DataType::UInt16, DataType::Float16, DataType::Utf8]),
        (any::<u8>(), any::<i8>()).prop_map(|(precision, scale)| DataType::Decimal32(precision, scale)),
        (30u8..50, any::<i8>()).prop_map(|(precision, scale)| DataType::Decimal128(precision, scale)),
        prop_oneof![-2..9i32, any::<i32>()].prop_map(DataType::FixedSizeBinary),
        unit().prop_map(DataType::Time32),
        unit().prop_map(DataType::Time64),
        unit().prop_map(DataType::Duration),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let item = (inner.clone(), any::<bool>(), "[a-c]{0,1}");
        let item = item.prop_map(|(data_type, nullable, name)| Arc::new(Field::new(name, data_type, nullable)));
        prop_oneof![
            item.clone().prop_map(DataType::List),
            item.clone().prop_map(DataType::LargeListView),
            (item.clone(), prop_oneof![-1..5i32, any::<i32>()])
                .prop_map(|(item, length)| DataType::FixedSizeList(item, length)),
            vec(item.clone(), 0..3).prop_map(|fields| DataType::Struct(fields.into())),
            (item.clone(), any::<bool>()).prop_map(|(entries, sorted)| DataType::Map(entries, sorted)),
            (vec(item, 2), any::<bool>()).prop_map(|(pair, nullable)| {
                DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair.into()), nullable)), false)
            }),
            (inner.clone(), inner).prop_map(|(key, value)| DataType::Dictionary(Box::new(key), Box::new(value))),
        ]
    })
}

fn like() -> impl Strategy<Value = (bool, Option<char>, bool)> {
    (any::<bool>(), any::<Option<char>>(), any::<bool>())
}

fn call(expr: impl Strategy<Value = Expr> + Clone) -> impl Strategy<Value = Expr> {
    let order = vec((expr.clone(), any::<bool>(), any::<bool>()), 0..3);
    let order =
        order.prop_map(|order| order.into_iter().map(|(expr, asc, nulls)| Sort::new(expr, asc, nulls)).collect());
    let nulls = option::of(select(vec![NullTreatment::IgnoreNulls, NullTreatment::RespectNulls]));
    let filter = option::of(expr.clone().prop_map(Box::new));
    (select(aggregate_functions()), vec(expr, 0..3), any::<bool>(), filter, order, nulls).prop_map(
        |(function, args, distinct, filter, order, nulls)| {
            Expr::AggregateFunction(AggregateFunction::new_udf(function, args, distinct, filter, order, nulls))
        },
    )
}

fn case(expr: impl Strategy<Value = Expr> + Clone) -> impl Strategy<Value = Expr> {
    let one = expr.prop_map(Box::new);
    (option::of(one.clone()), vec((one.clone(), one.clone()), 0..3), option::of(one))
        .prop_map(|(operand, branches, otherwise)| Expr::Case(Case::new(operand, branches, otherwise)))
}

/// Any expression that has an encoding, whether it makes sense or not.
pub(super) fn expression() -> impl Strategy<Value = Expr> {
    let metadata = || option::of(Just(metadata())).prop_map(Option::flatten);
    let leaf = prop_oneof![
        ".{0,8}".prop_map(|name| Expr::Column(Column::new_unqualified(name))),
        (value(), metadata()).prop_map(|(value, metadata)| Expr::Literal(value, metadata)),
    ];
    leaf.prop_recursive(6, 48, 4, move |expr| {
        let one = expr.clone().prop_map(Box::new);
        let pair = (one.clone(), one.clone());
        let items = vec(expr.clone(), 0..4);
        prop_oneof![
            (pair.clone(), select(OPERATORS.to_vec()))
                .prop_map(|((left, right), op)| Expr::BinaryExpr(BinaryExpr::new(left, op, right))),
            (one.clone(), select(UNARY.to_vec())).prop_map(|(child, make)| make(child)),
            (pair.clone(), like(), any::<bool>()).prop_map(
                |((text, pattern), (negated, escape, insensitive), similar)| {
                    let like = Like::new(negated, text, pattern, escape, insensitive);
                    if similar { Expr::SimilarTo(like) } else { Expr::Like(like) }
                }
            ),
            (one.clone(), pair, any::<bool>())
                .prop_map(|(value, (low, high), negated)| Expr::Between(Between::new(value, negated, low, high))),
            case(expr.clone()),
            (one.clone(), data_type()).prop_map(|(child, data_type)| Expr::Cast(Cast::new(child, data_type))),
            (one.clone(), data_type())
                .prop_map(|(child, data_type)| Expr::TryCast(TryCast::new_from_field(child, field(data_type)))),
            (select(scalar_functions()), items.clone())
                .prop_map(|(function, args)| Expr::ScalarFunction(ScalarFunction::new_udf(function, args))),
            call(expr.clone()),
            (one, items, any::<bool>())
                .prop_map(|(value, items, negated)| Expr::InList(InList::new(value, items, negated))),
            (expr, ".{0,8}", metadata()).prop_map(|(child, name, metadata)| {
                Expr::Alias(Alias::new(child, None::<&str>, name).with_metadata(metadata))
            }),
        ]
    })
}
