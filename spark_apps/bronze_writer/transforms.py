"""Kafka records into Bronze rows or dead letters: every record becomes exactly one of the two. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from include.contracts import bronze, topics
from include.contracts.table import Table
from include.contracts.topics import Header, TimeUnit, Topic, topics_of
from include.renderers.spark import cast_to, select_columns

TABLE_OF_TOPIC: Mapping[str, Table] = {
    topic.name: table
    for table in bronze.TABLES
    if table is not bronze.DEAD_LETTERS
    for topic in topics_of(table.full_name)
}
"""Which table each topic feeds; what its parser refuses, and all of the dead-letter topics, goes to dead letters."""

LETTERS = tuple(topic.name for topic in topics_of(bronze.DEAD_LETTERS.full_name))

KEYED_BY_PRODUCT = tuple(topic.name for topic in topics.TOPICS if topic.key == "product_id")

FRAME = "map<string, string>"
"""A map, not a struct: Bybit's `s` and `S` are two fields, which a struct's columns cannot be."""

JSON_OPTIONS = {"allowSingleQuotes": "false"}

MILLISECONDS = r"^\d{1,15}$"


def readable(kafka: DataFrame, table: Table) -> DataFrame:
    """Return the rows of one table: the records that hold all that the table requires."""
    return accepted(judged(kafka, table), table)


def judged(kafka: DataFrame, table: Table) -> DataFrame:
    """Return what one table's columns would be, for every record, and `refusal`: why it is no row; null if it is."""
    values = (value.alias(name) for name, value in _values(table).items())
    return records(kafka).select(*values, _refusal(table).alias("refusal"))


def accepted(judged: DataFrame, table: Table) -> DataFrame:
    """Return the rows among judged records."""
    return select_columns(judged.where(F.col("refusal").isNull()), table)


def dead_letters(kafka: DataFrame, tables: Iterable[Table] = tuple(TABLE_OF_TOPIC.values())) -> DataFrame:
    """Return a row for each record that `readable` leaves out, and for each of the dead-letter topics.

    A tombstone's bytes are the empty string; its reason says that it had no value.

    Args:
        tables: Those of which records may be there; each costs its parser.
    """
    reason = F.when(
        F.col("_kafka_topic").isin(*LETTERS),
        F.coalesce(F.col(Header.REASON), F.lit("the producer gave no reason")),
    )
    for table in dict.fromkeys(tables):
        reason = reason.when(_is_from(topics_of(table.full_name)), _refusal(table))
    # Java's MIME encoder breaks the text into lines.
    encoded = F.translate(F.base64(F.col("value")), "\r\n", "")
    letters = (
        records(kafka)
        .withColumn("reason", reason)
        .where(F.col("reason").isNotNull())
        .withColumn("_ingested_at", F.coalesce(_received_at(), F.col("_kafka_time")))
        .withColumn("_raw_bytes_base64", F.coalesce(encoded, F.lit("")))
    )
    return select_columns(letters, bronze.DEAD_LETTERS)


def records(kafka: DataFrame) -> DataFrame:
    """Give the columns of Spark's Kafka source names, each header a column, and the frame's fields as text.

    `text` is null unless the value is UTF-8, `frame` unless that begins with a JSON object.
    """
    headers = [F.coalesce(_header(header), *_implied(header)).alias(header.value) for header in Header]
    named = kafka.select(
        F.col("topic").alias("_kafka_topic"),
        F.col("partition").alias("_kafka_partition"),
        F.col("offset").alias("_kafka_offset"),
        F.col("timestamp").alias("_kafka_time"),
        F.decode("key", "UTF-8").alias("key"),
        "value",
        *headers,
    )
    text = _utf8(F.col("value"))
    parsed = F.struct(text.alias("text"), F.from_json(text, FRAME, JSON_OPTIONS).alias("frame"))
    # Dear to compute, and a filter that Spark moves below a plain column computes the column again for each time that
    # it names it: some ten times. Below the rows of an array it moves none.
    return named.select("*", F.explode(F.array(parsed)).alias("parsed")).select(*named.columns, "parsed.*")


def _values(table: Table) -> dict[str, Column]:
    """Say where each column of a table comes from: Kafka, the headers, or else the frame's field of it."""
    return {column.name: _value(column.name, table) for column in table.columns}


def _value(name: str, table: Table) -> Column:
    match name:
        case "_kafka_topic" | "_kafka_partition" | "_kafka_offset" | "_kafka_time":
            return F.col(name)
        case "_ingested_at":
            return _received_at()
        case "_raw_payload":
            return F.col("text")
        case "_source":
            return F.col(Header.SOURCE)
        case "_frame_index":
            return F.col(Header.FRAME_INDEX)
        case "venue" | "market":
            return F.coalesce(F.col(name), _field(name, table))
        case "product_id":
            # A trade from REST does not say its product, its key does.
            return F.coalesce(_field(name, table), F.when(F.col("_kafka_topic").isin(*KEYED_BY_PRODUCT), F.col("key")))
        case "price" | "size" | "best_bid" | "best_ask" | "volume_24h" | "market_cap" | "quote_volume_24h":
            return _by_topic(table, lambda topic: _number(topic, name))
        case "time":
            return _by_topic(table, lambda topic: _time(_field_of(topic, name), topic.time_unit))
        case "reason":
            return F.coalesce(_field(name, table), F.col("frame")["kind"])
        case _:
            return _field(name, table)


def _field(name: str, table: Table) -> Column:
    """Return the frame's value for a column of a table, by the name that the frame's venue has for it."""
    return _by_topic(table, lambda topic: _field_of(topic, name))


def _field_of(topic: Topic, name: str) -> Column:
    live = topic.fields.get(name, name)
    rest = live if topic.rest_fields is None else topic.rest_fields.get(name, name)
    frame = F.col("frame")
    return frame[live] if rest == live else F.when(F.col(Header.SOURCE) == "rest", frame[rest]).otherwise(frame[live])


def _by_topic(table: Table, value: Callable[[Topic], Column]) -> Column:
    """Return what each topic of a table says of its own records."""
    return F.coalesce(*(F.when(_is_from([topic]), value(topic)) for topic in topics_of(table.full_name)))


def _is_from(sources: Iterable[Topic]) -> Column:
    return F.col("_kafka_topic").isin(*(topic.name for topic in sources))


def _time(written: Column, unit: TimeUnit) -> Column:
    """Return an exchange time as text that sorts as times do; one that cannot be read stays as it is."""
    if unit is TimeUnit.ISO:
        return written
    moment = F.timestamp_millis(F.when(written.rlike(MILLISECONDS), written.cast("bigint")))
    return F.coalesce(F.date_format(moment, "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'"), written)


def _refusal(table: Table) -> Column:
    """Say why a record cannot be a row of the table; null if it can."""
    missing = [
        F.when(cast_to(value, table, name).isNull(), F.lit(f"no readable {name}"))
        for name, value in _values(table).items()
        if table.column(name).required
    ]
    return F.coalesce(
        F.when(F.col("value").isNull(), F.lit("no value")),
        F.when(F.col("text").isNull(), F.lit("not UTF-8")),
        F.when(~_is_one_object(), F.lit("not one JSON object")),
        *missing,
    )


def _is_one_object() -> Column:
    """Tell whether the text is one JSON object and nothing else.

    `from_json` alone would take the first of several values and drop what follows. Where there is one brace at either
    end and none between, nothing can follow; else the text is parsed again.
    """
    text = F.col("text")
    is_flat = text.rlike(r"^\s*\{[^{}]*\}\s*$")
    is_alone = F.json_array_length(F.concat(F.lit("["), text, F.lit(",0]"))) == 2
    is_object = F.ltrim(text).startswith("{") & F.col("frame").isNotNull()
    return F.coalesce(is_object & (is_flat | is_alone), F.lit(False))


def _number(topic: Topic, name: str) -> Column:
    """Return a number's text as it stands in the frame.

    Spark gives a bare JSON number by way of a double: of `1.50` it makes `1.5`, of `6.3363e-07` `6.3363E-7`. A venue
    that sends strings means their digits, and a number in their place is taken only if it came through unchanged.
    """
    value = _field_of(topic, name)
    if topic.has_bare_numbers:
        return F.coalesce(_literal(topic.fields.get(name, name), value), _quoted(value))
    return F.when(F.col("text").contains(value), value)


def _literal(wire_name: str, value: Column) -> Column:
    """Return the digits of a field that is a bare number.

    They are looked for in the text, where the name may stand more than once, in an inner object too; those that make
    the number which was parsed are the field's.
    """
    pattern = rf'(?<!\\)"{wire_name}"\s*:\s*(-?\d[\d.eE+-]*)'
    found = F.regexp_extract_all("text", F.lit(pattern), F.lit(1))
    return F.get(F.filter(found, lambda digits: digits.cast("double") == value.cast("double")), 0)


def _quoted(value: Column) -> Column:
    """Return a value that is a string in the frame."""
    return F.when(F.col("text").contains(F.concat(F.lit('"'), value, F.lit('"'))), value)


def _received_at() -> Column:
    return F.timestamp_micros(F.col(Header.RECEIVED_AT).cast("bigint"))


def _implied(header: Header) -> list[Column]:
    """Return what each topic means by leaving a header out."""
    return [
        F.when(F.col("topic").isin(*names), F.lit(text)) for text, names in sorted(_topics_by_meaning(header).items())
    ]


def _topics_by_meaning(header: Header) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for topic in topics.TOPICS:
        if header in topic.implied:
            names.setdefault(topic.implied[header], []).append(topic.name)
    return names


def _header(header: Header) -> Column:
    same_name = F.filter("headers", lambda pair: pair["key"] == header.value)
    return F.decode(F.get(same_name, 0)["value"], "UTF-8")


def _utf8(binary: Column) -> Column:
    """Return bytes as text, or null where they are not UTF-8, which a cast lets through and decoding replaces."""
    text = binary.cast("string")
    return F.when(F.decode(binary, "UTF-8") == text, text)
