//! Parses the elements between a table's parentheses: columns, computed columns, the watermark, the primary key.

use sqlparser::{
    ast::{ColumnOption, DataType, Expr, Ident},
    keywords::Keyword,
    parser::Parser,
    tokenizer::{Location, Token},
};

use crate::{
    errors::{Result, SqlError},
    words::is_word,
};

/// What a table declares between its parentheses.
#[derive(Debug, Default)]
pub(crate) struct TableElements {
    pub(crate) columns: Vec<ColumnClause>,
    pub(crate) watermark: Option<WatermarkClause>,
    pub(crate) primary_key: Vec<Ident>,
}

#[derive(Debug)]
pub(crate) enum ColumnClause {
    /// `name type [NOT NULL]`
    Physical { name: Ident, data_type: DataType, type_at: Location, nullable: bool },
    /// `name type [NOT NULL] METADATA [FROM 'key'] [VIRTUAL]`
    Metadata(MetadataClause),
    /// `name AS expression`
    Computed { name: Ident, expression: Box<Expr> },
}

/// A column of what the connector knows of a record beside the record.
#[derive(Debug)]
pub(crate) struct MetadataClause {
    pub(crate) name: Ident,
    pub(crate) data_type: DataType,
    pub(crate) type_at: Location,
    /// Without `NOT NULL`.
    pub(crate) nullable: bool,
    pub(crate) at: Location,
    /// `FROM 'key'`; without it the key is the name.
    pub(crate) from: Option<(String, Location)>,
    /// It is read only.
    pub(crate) is_virtual: bool,
}

/// `WATERMARK FOR column AS expression`
#[derive(Debug)]
pub(crate) struct WatermarkClause {
    pub(crate) column: Ident,
    pub(crate) expression: Expr,
    pub(crate) at: Location,
}

impl TableElements {
    /// Reads up to and with the closing parenthesis. The parser stands after the opening one.
    pub(crate) fn parse(parser: &mut Parser) -> Result<Self> {
        let mut elements = Self::default();
        if parser.consume_token(&Token::RParen) {
            return Ok(elements);
        }
        loop {
            elements.parse_one(parser)?;
            if parser.consume_token(&Token::RParen) {
                return Ok(elements);
            }
            parser.expect_token(&Token::Comma)?;
        }
    }

    fn parse_one(&mut self, parser: &mut Parser) -> Result<()> {
        let (first, second) = (parser.peek_nth_token_ref(0).clone(), parser.peek_nth_token_ref(1).token.clone());
        let at = first.span.start;
        if is_word(&first.token, "WATERMARK") && is_word(&second, "FOR") {
            return self.parse_watermark(parser, at);
        }
        if is_word(&first.token, "PRIMARY") && is_word(&second, "KEY") {
            parser.next_token();
            parser.next_token();
            return self.parse_primary_key(parser, at);
        }
        if is_word(&first.token, "CONSTRAINT") {
            parser.next_token();
            parser.parse_identifier()?;
            parser.expect_keywords(&[Keyword::PRIMARY, Keyword::KEY])?;
            return self.parse_primary_key(parser, at);
        }
        if ["UNIQUE", "FOREIGN", "CHECK"].iter().any(|word| is_word(&first.token, word)) && second == Token::LParen {
            return Err(SqlError::at(at, format!("{} constraints are not supported", first.token)));
        }
        let name = parser.parse_identifier()?;
        let column = if is_word(&second, "AS") {
            parser.next_token();
            let expression = Box::new(parser.parse_expr()?);
            comment(parser)?;
            ColumnClause::Computed { name, expression }
        } else {
            self.parse_physical(parser, name)?
        };
        self.columns.push(column);
        Ok(())
    }

    fn parse_physical(&mut self, parser: &mut Parser, name: Ident) -> Result<ColumnClause> {
        let type_at = parser.peek_token_ref().span.start;
        let data_type = parser.parse_data_type()?;
        let mut nullable = true;
        loop {
            let token = parser.peek_token_ref().clone();
            if is_word(&token.token, "METADATA") {
                if self.primary_key.contains(&name) {
                    return Err(SqlError::at(token.span.start, "a METADATA column cannot be part of a PRIMARY KEY"));
                }
                let (from, is_virtual) = parse_metadata(parser)?;
                let at = token.span.start;
                let clause = MetadataClause { name, data_type, type_at, nullable, at, from, is_virtual };
                return Ok(ColumnClause::Metadata(clause));
            }
            if parser.parse_keywords(&[Keyword::PRIMARY, Keyword::KEY]) {
                not_enforced(parser, token.span.start)?;
                self.primary_key.push(name.clone());
                continue;
            }
            match parser.parse_optional_column_option()? {
                Some(ColumnOption::NotNull) => nullable = false,
                Some(ColumnOption::Null | ColumnOption::Comment(_)) => {}
                Some(other) => {
                    return Err(SqlError::at(token.span.start, format!("column option {other} is not supported")));
                }
                None => return Ok(ColumnClause::Physical { name, data_type, type_at, nullable }),
            }
        }
    }

    fn parse_watermark(&mut self, parser: &mut Parser, at: Location) -> Result<()> {
        parser.next_token();
        parser.next_token();
        let column = parser.parse_identifier()?;
        if parser.peek_token_ref().token == Token::Period {
            return Err(SqlError::at(column.span.start, "a watermark cannot be on a nested field")
                .with_hint("declare a computed column of it: ts AS row.field"));
        }
        parser.expect_keyword(Keyword::AS)?;
        let expression = parser.parse_expr()?;
        if self.watermark.is_some() {
            return Err(SqlError::at(at, "a table has at most one WATERMARK"));
        }
        self.watermark = Some(WatermarkClause { column, expression, at });
        Ok(())
    }

    fn parse_primary_key(&mut self, parser: &mut Parser, at: Location) -> Result<()> {
        parser.expect_token(&Token::LParen)?;
        self.primary_key = parser.parse_comma_separated(Parser::parse_identifier)?;
        parser.expect_token(&Token::RParen)?;
        not_enforced(parser, at)
    }
}

fn not_enforced(parser: &mut Parser, at: Location) -> Result<()> {
    if parser.parse_keywords(&[Keyword::NOT, Keyword::ENFORCED]) {
        return Ok(());
    }
    Err(SqlError::at(at, "PRIMARY KEY must be NOT ENFORCED").with_hint("this engine does not check keys"))
}

/// `METADATA [FROM 'key'] [VIRTUAL] [COMMENT 'text']`
fn parse_metadata(parser: &mut Parser) -> Result<(Option<(String, Location)>, bool)> {
    parser.next_token();
    let from = if parser.parse_keyword(Keyword::FROM) {
        let token = parser.next_token();
        let Token::SingleQuotedString(key) = token.token else {
            let message = format!("METADATA FROM needs a quoted key, found: {}", token.token);
            return Err(SqlError::at(token.span.start, message).with_hint("METADATA FROM 'key'"));
        };
        Some((key, token.span.start))
    } else {
        None
    };
    let is_virtual = is_word(&parser.peek_token_ref().token, "VIRTUAL");
    if is_virtual {
        parser.next_token();
    }
    comment(parser)?;
    let rest = parser.peek_token_ref();
    if ["NOT", "FROM", "VIRTUAL", "PRIMARY"].iter().any(|word| is_word(&rest.token, word)) {
        return Err(SqlError::at(rest.span.start, format!("{} does not belong here", rest.token))
            .with_hint("name type [NOT NULL] METADATA [FROM 'key'] [VIRTUAL]"));
    }
    Ok((from, is_virtual))
}

fn comment(parser: &mut Parser) -> Result<()> {
    if parser.parse_keyword(Keyword::COMMENT) {
        parser.parse_literal_string()?;
    }
    Ok(())
}
