"""The functions that a query may call.

sqlglot has classes for common functions, which are allowed except for REFUSED_EXPRESSIONS. Other functions it knows by
name only; of those the ones listed here are allowed. Allowed functions only compute from their arguments: they read no
file or catalog, change no setting, sequence or lock, do not block, and run no SQL of their own.
"""

from typing import Final

from sqlglot import exp

from graphmesh_sql.domain import Dialect

REFUSED_EXPRESSIONS: Final = (
    *(
        exp.CurrentUser,
        exp.SessionUser,
        exp.CurrentRole,
        exp.CurrentDatabase,
        exp.CurrentCatalog,
        exp.CurrentSchema,
        exp.CurrentSchemas,
    ),
    *(exp.CurrentVersion, exp.ReadCSV),
)
"""Functions with a sqlglot class that a query may not call: they expose the session, the server, or files."""

_SQLITE = """
    abs acos acosh asin asinh atan atan2 atanh avg ceil ceiling char coalesce concat concat_ws cos cosh count
    cume_dist current_date current_time current_timestamp date datetime degrees dense_rank exp first_value floor
    format glob group_concat hex ifnull iif instr json json_array json_array_length json_each json_extract
    json_group_array json_group_object json_object json_patch json_quote json_tree json_type json_valid julianday
    lag last_value lead length like likelihood likely ln log log10 log2 lower ltrim max min mod nth_value ntile
    nullif octet_length percent_rank pi pow power printf quote radians random rank replace round row_number rtrim
    sign sin sinh soundex sqrt strftime string_agg substr substring sum tan tanh time timediff total trim trunc
    typeof unicode unhex unixepoch unlikely upper -> ->>
"""
SQLITE_FUNCTIONS: Final = frozenset(_SQLITE.split())
"""All allowed functions, since SQLite's authorizer reports every function by name."""

_POSTGRESQL = """
    abs acos acosd age array_agg array_append array_cat array_dims array_length array_lower array_ndims
    array_position array_positions array_prepend array_remove array_replace array_to_json array_to_string
    array_upper ascii asin asind atan atan2 atan2d atand bit_and bit_count bit_length bit_or bit_xor bool_and
    bool_or btrim cardinality cbrt ceil ceiling char_length character_length chr clock_timestamp concat concat_ws
    corr cos cosd cosh cot cotd covar_pop covar_samp cume_dist date_bin date_part date_trunc decode degrees
    dense_rank div encode erf erfc every exp factorial first_value floor format gcd generate_series get_bit get_byte
    greatest initcap isfinite json_agg json_array_elements json_array_elements_text json_array_length
    json_build_array json_build_object json_each json_each_text json_extract_path json_extract_path_text json_object
    json_object_agg json_object_keys json_strip_nulls json_typeof jsonb_agg jsonb_array_elements
    jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object jsonb_each jsonb_each_text
    jsonb_extract_path jsonb_extract_path_text jsonb_object jsonb_object_agg jsonb_object_keys jsonb_path_exists
    jsonb_path_match jsonb_path_query jsonb_path_query_array jsonb_path_query_first jsonb_pretty jsonb_set
    jsonb_strip_nulls jsonb_typeof justify_days justify_hours justify_interval lag last_value lcm lead least left
    length ln log log10 lower lower_inf lower_inc lpad ltrim make_date make_interval make_time make_timestamp
    make_timestamptz max md5 min min_scale mod mode normalize nth_value ntile num_nonnulls num_nulls octet_length
    overlay percent_rank percentile_cont percentile_disc phraseto_tsquery pi plainto_tsquery position power
    quote_ident quote_literal quote_nullable radians random range_agg rank regexp_count regexp_instr regexp_like
    regexp_match regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table regexp_substr regr_avgx
    regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy repeat replace reverse right
    round row_number row_to_json rpad rtrim scale sign sin sind sinh split_part sqrt starts_with statement_timestamp
    stddev stddev_pop stddev_samp string_agg string_to_array string_to_table strpos substr substring sum tan tand
    tanh to_char to_date to_hex to_json to_jsonb to_number to_timestamp to_tsquery to_tsvector transaction_timestamp
    translate trim trim_array trim_scale trunc ts_headline ts_rank ts_rank_cd unicode_version unistr unnest upper
    upper_inf upper_inc var_pop var_samp variance websearch_to_tsquery width_bucket
"""

ALLOWED_FUNCTIONS: Final = {Dialect.SQLITE: SQLITE_FUNCTIONS, Dialect.POSTGRESQL: frozenset(_POSTGRESQL.split())}
"""Names in lower case."""
