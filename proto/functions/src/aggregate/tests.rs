use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int64Array},
    datatypes::{DataType, Decimal128Type, Float64Type, Int64Type},
};
use datafusion_expr::{AggregateUDFImpl, EmitTo, GroupsAccumulator, function::AccumulatorArgs};
use proptest::prelude::*;

use super::*;

fn make(function: &dyn AggregateUDFImpl, values: &DataType, is_distinct: bool) -> Box<dyn GroupsAccumulator> {
    let field = Arc::new(arrow::datatypes::Field::new("v", values.clone(), true));
    let schema = arrow::datatypes::Schema::new(vec![field.clone()]);
    let returned = function.return_type(std::slice::from_ref(values)).expect("a type");
    let args = AccumulatorArgs {
        return_field: Arc::new(arrow::datatypes::Field::new("r", returned, true)),
        schema: &schema,
        ignore_nulls: false,
        order_bys: &[],
        is_reversed: false,
        name: "test",
        is_distinct,
        exprs: &[],
        expr_fields: &[field],
    };
    function.create_groups_accumulator(args).expect("an accumulator")
}

fn integers(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn decimals(values: &[Option<i128>], precision: u8, scale: i8) -> ArrayRef {
    let array = Decimal128Array::from(values.to_vec());
    Arc::new(array.with_precision_and_scale(precision, scale).expect("a decimal type"))
}

#[test]
fn a_sum_that_overflows_only_on_the_way_is_right() {
    let mut sum = make(&sum(), &DataType::Int64, false);
    let values = integers(&[Some(i64::MAX), Some(i64::MAX), Some(-i64::MAX), Some(3), None]);
    sum.update_batch(&[values], &[0, 0, 0, 1, 2], None, 4).expect("integers");
    let result = sum.evaluate(EmitTo::All).expect("all fit");
    let result: Vec<Option<i64>> = result.as_primitive::<Int64Type>().iter().collect();
    assert_eq!(result, [Some(i64::MAX), Some(3), None, None]);
}

#[test]
fn a_sum_that_does_not_fit_names_its_group() {
    let mut sum = make(&sum(), &DataType::Int64, false);
    sum.update_batch(&[integers(&[Some(1), Some(i64::MAX), Some(1)])], &[0, 1, 1], None, 2).expect("integers");
    let error = sum.evaluate(EmitTo::All).expect_err("it does not fit");
    let overflow = GroupOverflow::of(&error).expect("of a group");
    assert_eq!((overflow.group, overflow.message.as_str()), (1, "9223372036854775808 does not fit BIGINT"));
}

#[test]
fn sums_of_decimals_of_any_precision_do_not_wrap() {
    let most = 10i128.pow(38) - 1;
    for (precision, value) in [(38, most), (19, 10i128.pow(19) - 1)] {
        let mut sum = make(&sum(), &DataType::Decimal128(precision, 2), false);
        let values = decimals(&[Some(value), Some(value), Some(-value)], precision, 2);
        sum.update_batch(&[values], &[0, 0, 0], None, 1).expect("decimals");
        let result = sum.evaluate(EmitTo::All).expect("it fits");
        assert_eq!(result.as_primitive::<Decimal128Type>().value(0), value);
        assert_eq!(*result.data_type(), DataType::Decimal128(38, 2));
    }
    let mut sum = make(&sum(), &DataType::Decimal128(38, 0), false);
    sum.update_batch(&[decimals(&[Some(most), Some(1)], 38, 0)], &[0, 0], None, 1).expect("decimals");
    let error = sum.evaluate(EmitTo::All).expect_err("39 digits").to_string();
    assert!(error.contains(&format!("1{} does not fit DECIMAL(38, 0)", "0".repeat(38))), "{error}");
}

#[test]
fn averages_of_decimals_round_once() {
    let one = 10i128.pow(18);
    for (values, scale, expected) in [
        (vec![one], 18, one),
        (vec![10i128.pow(38) - 1], 18, 10i128.pow(38) - 1),
        (vec![1, 2, 2], 2, 16_667),
        (vec![-1, -2, -2], 2, -16_667),
    ] {
        let mut average = make(&average(), &DataType::Decimal128(38, scale), false);
        let values: Vec<Option<i128>> = values.into_iter().map(Some).collect();
        average.update_batch(&[decimals(&values, 38, scale)], &vec![0; values.len()], None, 1).expect("decimals");
        let result = average.evaluate(EmitTo::All).expect("it fits");
        assert_eq!(*result.data_type(), DataType::Decimal128(38, scale.max(6)));
        assert_eq!(result.as_primitive::<Decimal128Type>().value(0), expected);
    }
}

#[test]
fn averages_of_whole_numbers_are_exact_in_whatever_order_they_come() {
    let values = [i64::MAX, -1, i64::MIN, 0].map(Some);
    for order in [[0, 1, 2, 3], [2, 0, 3, 1], [3, 2, 1, 0]] {
        let [mut one, mut other, mut merged] = [(); 3].map(|()| make(&average(), &DataType::Int64, false));
        let column: ArrayRef = Arc::new(order.map(|at: usize| values[at]).into_iter().collect::<Int64Array>());
        one.update_batch(&[column.slice(0, 1)], &[0], None, 1).expect("integers");
        other.update_batch(&[column.slice(1, 3)], &[0; 3], None, 1).expect("integers");
        for part in [&mut one, &mut other] {
            merged.merge_batch(&part.state(EmitTo::All).expect("a state"), &[0], 1).expect("a sum and a count");
        }
        let result = merged.evaluate(EmitTo::All).expect("it fits");
        assert_eq!(result.as_primitive::<Float64Type>().value(0), -0.5);
    }
}

#[test]
fn averages_of_whole_numbers_round_once() {
    // As a double the sum is one less, of which a third is no whole number.
    for sign in [1, -1] {
        let mut average = make(&average(), &DataType::Int64, false);
        let values = integers(&[Some(sign * 9_007_199_254_740_993), Some(0), Some(0), Some(0)]);
        average.update_batch(&[values], &[0, 0, 0, 1], None, 2).expect("integers");
        let result = average.evaluate(EmitTo::All).expect("it fits");
        let expected = [sign as f64 * 3_002_399_751_580_331.0, 0.0];
        assert_eq!(result.as_primitive::<Float64Type>().values()[..], expected);
    }
}

#[test]
fn distinct_totals_count_a_value_once_over_all_partials() {
    let values = DataType::Decimal128(10, 1);
    for function in [&sum() as &dyn AggregateUDFImpl, &average()] {
        let [mut one, mut other, mut merged] = [(); 3].map(|()| make(function, &values, true));
        one.update_batch(&[decimals(&[Some(10), Some(10), None], 10, 1)], &[0, 0, 1], None, 2).expect("decimals");
        let mask = BooleanArray::from(vec![Some(true), Some(true), None]);
        let masked = decimals(&[Some(10), Some(30), Some(70)], 10, 1);
        other.update_batch(&[masked], &[0, 0, 0], Some(&mask), 1).expect("decimals");
        merged.merge_batch(&one.state(EmitTo::All).expect("a state"), &[0, 1], 2).expect("a list");
        merged.merge_batch(&other.state(EmitTo::All).expect("a state"), &[0], 2).expect("a list");
        let result = merged.evaluate(EmitTo::All).expect("it fits");
        let expected = if function.name() == "exact_sum" { 40 } else { 2_000_000 };
        assert_eq!(result.as_primitive::<Decimal128Type>().value(0), expected);
        assert!(result.is_null(1));
    }
}

#[test]
fn nan_is_the_greatest_wherever_it_stands() {
    for values in [[f64::NAN, -0.0, 1.0], [-0.0, f64::NAN, 1.0], [-0.0, 1.0, -f64::NAN]] {
        for (function, expected) in [(least(), 0.0f64), (greatest(), f64::NAN)] {
            let column = values.into_iter().map(Some).chain([None]).collect::<Float64Array>();
            let mut partials = make(&function, &DataType::Float64, false);
            partials.update_batch(&[Arc::new(column)], &[0, 1, 2, 3], None, 4).expect("floats");
            let mut merged = make(&function, &DataType::Float64, false);
            merged.merge_batch(&partials.state(EmitTo::All).expect("a state"), &[0, 0, 0, 1], 2).expect("floats");
            let result = merged.evaluate(EmitTo::All).expect("a float");
            assert_eq!(result.as_primitive::<Float64Type>().value(0).to_bits(), expected.to_bits(), "of {values:?}");
            assert!(result.is_null(1), "of no values");
        }
    }
}

#[test]
fn nested_values_have_no_least() {
    let error = least().coerce_types(&[DataType::new_list(DataType::Int32, true)]).expect_err("an ARRAY");
    assert!(error.to_string().contains("'min' does not take ARRAY"), "{error}");
}

proptest! {
    /// However rows are cut into partials, sums are those of exact arithmetic.
    #[test]
    fn partials_in_any_cut_give_the_exact_sum(
        rows in prop::collection::vec((0usize..3, prop::option::weighted(0.8, any::<i64>())), 1..60),
        cut in 0usize..60,
    ) {
        let mut total = make(&sum(), &DataType::Int64, false);
        let cut = cut.min(rows.len());
        for part in [&rows[..cut], &rows[cut..]] {
            let mut partial = make(&sum(), &DataType::Int64, false);
            let values: Vec<Option<i64>> = part.iter().map(|(_, value)| *value).collect();
            let groups: Vec<usize> = part.iter().map(|(group, _)| *group).collect();
            partial.update_batch(&[integers(&values)], &groups, None, 3).expect("integers");
            total.merge_batch(&partial.state(EmitTo::All).expect("a state"), &[0, 1, 2], 3).expect("sums");
        }
        let exact = |group: usize| -> Option<i128> {
            let values = rows.iter().filter(|(of, _)| *of == group).filter_map(|(_, value)| value.map(i128::from));
            values.fold(None, |sum, value| Some(sum.unwrap_or(0) + value))
        };
        let expected: Vec<Option<i128>> = (0..3).map(exact).collect();
        let fits = expected.iter().flatten().all(|sum| i64::try_from(*sum).is_ok());
        match total.evaluate(EmitTo::All) {
            Ok(result) => {
                let result = result.as_primitive::<Int64Type>().iter().map(|sum| sum.map(i128::from));
                prop_assert_eq!(result.collect::<Vec<_>>(), expected);
            }
            Err(error) => {
                let overflow = GroupOverflow::of(&error).expect("of a group");
                prop_assert!(!fits && expected[overflow.group].is_some_and(|sum| i64::try_from(sum).is_err()));
            }
        }
    }
}
