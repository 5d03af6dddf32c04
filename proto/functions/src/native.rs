//! Our own scalar functions: a name, the arguments that are taken, and how rows are evaluated.
//!
//! As in Flink, arguments are of the declared kind: a text is not parsed as a number, nor a number written as a text,
//! unless a cast says so. Constant arguments stay single values, so that patterns are parsed once.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float64Array, Int32Array, Int64Array, StringViewArray,
        StringViewBuilder,
    },
    datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type, TimeUnit},
};
use datafusion_common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_datafusion_err};
use datafusion_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    expr::schema_name_from_exprs,
};

use crate::{budget, names::sql_type};

/// The most bytes of a text that a function makes.
pub(crate) const TEXT_BYTES_MAX: usize = 64 << 20;
/// So many bytes are made before they are charged, because most texts are short.
const CHARGED_BYTES: usize = 64 << 10;

/// What an argument may be, and the type in which the function gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A text. Integers are written as texts.
    Written,
    Text,
    /// An integer, as 64 bits.
    Int,
    /// Any number, as a double.
    Double,
    /// Any number, as it is.
    Number,
    Boolean,
    Bytes,
    /// A text or bytes, as it is.
    TextOrBytes,
    /// An integer or a text.
    IntOrText,
    /// `DATE`, `TIME`, `TIMESTAMP` or `TIMESTAMP_LTZ`, as it is.
    Time,
    /// `DATE`, `TIMESTAMP` or `TIMESTAMP_LTZ`, as it is.
    Day,
    Interval,
}

impl Kind {
    /// The type to which an argument of type `found` is coerced; `None` if it is not of this kind.
    pub(crate) fn takes(self, found: &DataType) -> Option<DataType> {
        use DataType as T;
        let is_text = matches!(found, T::Utf8 | T::LargeUtf8 | T::Utf8View);
        let is_bytes = matches!(found, T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_));
        let null = *found == T::Null;
        match self {
            Self::Text => (is_text || null).then_some(T::Utf8View),
            Self::Written => (is_text || null || found.is_integer()).then_some(T::Utf8View),
            Self::Int => (found.is_integer() || null).then_some(T::Int64),
            Self::Double => (found.is_numeric() || null).then_some(T::Float64),
            Self::Number if null => Some(T::Int32),
            Self::Number if found.is_unsigned_integer() => Some(T::Int64),
            Self::Number => {
                let known = found.is_integer() || matches!(found, T::Float32 | T::Float64 | T::Decimal128(_, _));
                known.then(|| found.clone())
            }
            Self::Boolean => (*found == T::Boolean || null).then_some(T::Boolean),
            Self::Bytes => (is_bytes || null).then_some(T::Binary),
            Self::TextOrBytes if is_bytes => Some(T::Binary),
            Self::TextOrBytes => (is_text || null).then_some(T::Utf8View),
            Self::IntOrText if found.is_integer() => Some(T::Int64),
            Self::IntOrText => (is_text || null).then_some(T::Utf8View),
            Self::Time if matches!(found, T::Time32(_) | T::Time64(_)) => Some(T::Time64(TimeUnit::Nanosecond)),
            Self::Time | Self::Day if null => Some(T::Timestamp(TimeUnit::Millisecond, None)),
            Self::Time | Self::Day => matches!(found, T::Date32 | T::Timestamp(_, _)).then(|| found.clone()),
            Self::Interval => matches!(found, T::Interval(_) | T::Duration(_) | T::Null)
                .then_some(T::Interval(arrow::datatypes::IntervalUnit::MonthDayNano)),
        }
    }
}

/// The number and the kinds of arguments.
#[derive(Clone, Copy)]
pub(crate) enum Takes {
    /// These. The last `optional` ones may be left out.
    These { kinds: &'static [Kind], optional: usize },
    /// These, and any number of further ones of the last one's kind.
    Repeated(&'static [Kind]),
    /// The coerced types as a function of the types found; `None` if those are refused.
    By(fn(&[DataType]) -> Option<Vec<DataType>>),
}

/// These arguments and no others.
pub(crate) const fn these(kinds: &'static [Kind]) -> Takes {
    Takes::These { kinds, optional: 0 }
}

/// These arguments. The last `optional` ones may be left out.
pub(crate) const fn up_to(kinds: &'static [Kind], optional: usize) -> Takes {
    Takes::These { kinds, optional }
}

impl Takes {
    fn coerce(self, found: &[DataType]) -> Option<Vec<DataType>> {
        let of_kinds = |kinds: &[Kind]| {
            let kind_of = |at: usize| kinds.get(at).or(kinds.last()).copied();
            found.iter().enumerate().map(|(at, found)| kind_of(at).and_then(|kind| kind.takes(found))).collect()
        };
        match self {
            Self::These { kinds, optional } => {
                let fits = (kinds.len() - optional..=kinds.len()).contains(&found.len());
                fits.then(|| of_kinds(kinds)).flatten()
            }
            Self::Repeated(kinds) => (found.len() >= kinds.len()).then(|| of_kinds(kinds)).flatten(),
            Self::By(coerce) => coerce(found),
        }
    }
}

/// The type of the result.
#[derive(Clone, Copy)]
pub(crate) enum Gives {
    Text,
    Int,
    BigInt,
    Double,
    Boolean,
    Bytes,
    /// By the types of the coerced arguments.
    By(fn(&[DataType]) -> DataType),
}

/// Refuses arguments with which no row could be evaluated, and says why.
pub(crate) type Check = fn(&Constants) -> std::result::Result<(), String>;

/// What planning knows of the arguments.
pub(crate) struct Constants<'a> {
    pub(crate) types: &'a [DataType],
    values: &'a [Option<&'a ScalarValue>],
}

impl<'a> Constants<'a> {
    pub(crate) fn len(&self) -> usize {
        self.types.len()
    }

    /// The text of an argument; `None` if it is NULL, missing, or not constant.
    pub(crate) fn text(&self, at: usize) -> Option<&'a str> {
        self.values.get(at).copied().flatten().and_then(|value| value.try_as_str().flatten())
    }

    /// The integer of an argument; `None` if it is NULL, missing, or not constant.
    pub(crate) fn int(&self, at: usize) -> Option<i64> {
        let value = self.values.get(at).copied().flatten().filter(|value| value.data_type().is_integer())?;
        match value.cast_to(&DataType::Int64).ok()? {
            ScalarValue::Int64(value) => value,
            _ => None,
        }
    }
}

/// A scalar function.
#[derive(Clone, Copy)]
pub(crate) struct Native {
    /// In lower case.
    pub(crate) name: &'static str,
    pub(crate) aliases: &'static [&'static str],
    /// How a call is written, for errors.
    pub(crate) usage: &'static str,
    pub(crate) takes: Takes,
    pub(crate) gives: Gives,
    pub(crate) check: Option<Check>,
    pub(crate) evaluate: fn(&Arguments) -> Result<ArrayRef>,
}

impl Native {
    /// A function without aliases and checks.
    pub(crate) const fn new(
        name: &'static str,
        usage: &'static str,
        takes: Takes,
        gives: Gives,
        evaluate: fn(&Arguments) -> Result<ArrayRef>,
    ) -> Self {
        Self { name, aliases: &[], usage, takes, gives, check: None, evaluate }
    }

    pub(crate) const fn also(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    pub(crate) const fn checked(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    pub(crate) fn into_udf(self) -> Arc<ScalarUDF> {
        let aliases = self.aliases.iter().map(|alias| (*alias).to_owned()).collect();
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Function { native: self, aliases, signature }))
    }
}

struct Function {
    native: Native,
    aliases: Vec<String>,
    signature: Signature,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function").field("name", &self.native.name).finish_non_exhaustive()
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.native.name == other.native.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.native.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.native.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        match (self.native.name, args) {
            ("array_at" | "map_at", [value, Expr::Literal(at, _)]) => Ok(format!("{}[{at}]", value.schema_name())),
            ("array_at" | "map_at", [value, at]) => Ok(format!("{}[{}]", value.schema_name(), at.schema_name())),
            _ => Ok(format!("{}({})", self.native.name, schema_name_from_exprs(args)?)),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match self.native.gives {
            Gives::Text => DataType::Utf8View,
            Gives::Int => DataType::Int32,
            Gives::BigInt => DataType::Int64,
            Gives::Double => DataType::Float64,
            Gives::Boolean => DataType::Boolean,
            Gives::Bytes => DataType::Binary,
            Gives::By(given) => given(types),
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        if let Some(check) = self.native.check {
            check(&Constants { types: &types, values: args.scalar_arguments })
                .map_err(|reason| plan_datafusion_err!("'{}': {reason}", self.native.name.to_uppercase()))?;
        }
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, true)))
    }

    fn coerce_types(&self, found: &[DataType]) -> Result<Vec<DataType>> {
        self.native.takes.coerce(found).ok_or_else(|| {
            let found: Vec<String> = found.iter().map(sql_type).collect();
            let name = self.native.name.to_uppercase();
            plan_datafusion_err!("'{name}' is called as {}, not with ({})", self.native.usage, found.join(", "))
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arguments = Arguments { values: &args.args, rows, returns: args.return_field.data_type() };
        if !constant {
            return Ok(ColumnarValue::Array((self.native.evaluate)(&arguments)?));
        }
        // It is made once, and fewer rows would not make it smaller, so it has no budget.
        let (given, _) = budget::within(None, || (self.native.evaluate)(&arguments));
        Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&given?, 0)?))
    }
}

/// The arguments of one call, for all rows of a batch.
pub(crate) struct Arguments<'a> {
    values: &'a [ColumnarValue],
    /// The number of rows of the result.
    pub(crate) rows: usize,
    /// The type of the result.
    pub(crate) returns: &'a DataType,
}

impl Arguments<'_> {
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// The argument's type.
    pub(crate) fn data_type(&self, at: usize) -> Result<DataType> {
        Ok(self.value(at)?.data_type())
    }

    /// One value per row.
    pub(crate) fn array(&self, at: usize) -> Result<ArrayRef> {
        self.value(at)?.to_array(self.rows)
    }

    /// One value per row, or the only value of a constant.
    fn short(&self, at: usize) -> Result<(ArrayRef, bool)> {
        match self.value(at)? {
            ColumnarValue::Array(array) => Ok((array.clone(), false)),
            ColumnarValue::Scalar(value) => Ok((value.to_array()?, true)),
        }
    }

    pub(crate) fn texts(&self, at: usize) -> Result<Texts> {
        let (array, constant) = self.short(at)?;
        let texts = array.as_string_view_opt().cloned().ok_or_else(unexpected)?;
        Ok(Texts { texts, constant })
    }

    pub(crate) fn ints(&self, at: usize) -> Result<Ints> {
        let (array, constant) = self.short(at)?;
        let ints = array.as_primitive_opt::<Int64Type>().cloned().ok_or_else(unexpected)?;
        Ok(Ints { ints, constant })
    }

    pub(crate) fn doubles(&self, at: usize) -> Result<Doubles> {
        let (array, constant) = self.short(at)?;
        let doubles = array.as_primitive_opt::<Float64Type>().cloned().ok_or_else(unexpected)?;
        Ok(Doubles { doubles, constant })
    }

    pub(crate) fn booleans(&self, at: usize) -> Result<Booleans> {
        let (array, constant) = self.short(at)?;
        let booleans = array.as_boolean_opt().cloned().ok_or_else(unexpected)?;
        Ok(Booleans { booleans, constant })
    }

    pub(crate) fn bytes(&self, at: usize) -> Result<Bytes> {
        let (array, constant) = self.short(at)?;
        let bytes = array.as_binary_opt::<i32>().cloned().ok_or_else(unexpected)?;
        Ok(Bytes { bytes, constant })
    }

    fn value(&self, at: usize) -> Result<&ColumnarValue> {
        self.values.get(at).ok_or_else(unexpected)
    }
}

/// The planner has fixed the types, but the bytes of a job graph may contain others.
pub(crate) fn unexpected() -> datafusion_common::DataFusionError {
    exec_datafusion_err!("the arguments are not of the types that the function takes")
}

macro_rules! values {
    ($name:ident, $field:ident, $array:ty, $value:ty) => {
        /// The values of one argument.
        pub(crate) struct $name {
            $field: $array,
            constant: bool,
        }

        impl $name {
            /// The value of a row; `None` where it is NULL.
            pub(crate) fn get(&self, row: usize) -> Option<$value> {
                let row = if self.constant { 0 } else { row };
                self.$field.is_valid(row).then(|| self.$field.value(row))
            }
        }
    };
}

values!(Texts, texts, StringViewArray, &str);
values!(Ints, ints, Int64Array, i64);
values!(Doubles, doubles, Float64Array, f64);
values!(Booleans, booleans, BooleanArray, bool);
values!(Bytes, bytes, BinaryArray, &[u8]);

/// Makes a text for each row.
pub(crate) fn texts<T: AsRef<str>>(rows: usize, mut made: impl FnMut(usize) -> Result<Option<T>>) -> Result<ArrayRef> {
    let mut builder = StringViewBuilder::with_capacity(rows);
    let mut uncharged = 0;
    for row in 0..rows {
        let made = made(row)?;
        let Some(text) = made.as_ref().map(AsRef::as_ref) else {
            builder.append_null();
            continue;
        };
        check_bytes(Some(text.len()))?;
        uncharged += text.len();
        if uncharged >= CHARGED_BYTES {
            budget::charge(std::mem::take(&mut uncharged))?;
        }
        builder.try_append_value(text)?;
    }
    budget::charge(uncharged)?;
    Ok(Arc::new(builder.finish()))
}

/// Refuses to make a text of too many bytes; `None` stands for more than can be counted.
pub(crate) fn check_bytes(bytes: Option<usize>) -> Result<()> {
    match bytes {
        Some(bytes) if bytes <= TEXT_BYTES_MAX => Ok(()),
        Some(bytes) => exec_err!("a text of {bytes} bytes is larger than {TEXT_BYTES_MAX} bytes"),
        None => exec_err!("a text is larger than {TEXT_BYTES_MAX} bytes"),
    }
}

/// Makes an INT for each row.
pub(crate) fn ints(rows: usize, mut made: impl FnMut(usize) -> Result<Option<i32>>) -> Result<ArrayRef> {
    Ok(Arc::new((0..rows).map(&mut made).collect::<Result<Int32Array>>()?))
}

/// Makes a BIGINT for each row.
pub(crate) fn bigints(rows: usize, mut made: impl FnMut(usize) -> Result<Option<i64>>) -> Result<ArrayRef> {
    Ok(Arc::new((0..rows).map(&mut made).collect::<Result<Int64Array>>()?))
}

/// Makes a BOOLEAN for each row.
pub(crate) fn booleans(rows: usize, mut made: impl FnMut(usize) -> Result<Option<bool>>) -> Result<ArrayRef> {
    Ok(Arc::new((0..rows).map(&mut made).collect::<Result<BooleanArray>>()?))
}

/// A count of characters or elements as `INT`.
pub(crate) fn count(value: usize) -> Result<i32> {
    i32::try_from(value).map_err(|_| exec_datafusion_err!("{value} is more than an INT holds"))
}
