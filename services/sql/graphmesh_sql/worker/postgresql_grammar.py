"""The nodes of PostgreSQL's parse tree that a query may have, and the fields of each.

A node or a field that is not listed is refused, so that what a later version of PostgreSQL adds is refused until it has
been understood here.
"""

from typing import Final

from graphmesh_sql.domain import Rule

_NODES = {
    "SelectStmt": "distinctClause targetList fromClause whereClause groupClause groupDistinct groupByAll havingClause "
    "windowClause valuesLists sortClause limitOffset limitCount limitOption withClause op all larg rarg",
    "ResTarget": "name indirection val",
    "ColumnRef": "fields",
    "A_Expr": "kind name lexpr rexpr rexpr_list_start rexpr_list_end",
    "BoolExpr": "boolop args",
    "NullTest": "arg nulltesttype argisrow",
    "BooleanTest": "arg booltesttype",
    "CaseExpr": "arg args defresult",
    "CaseWhen": "expr result",
    "CoalesceExpr": "args",
    "MinMaxExpr": "op args",
    "SubLink": "subLinkType subLinkId testexpr operName subselect",
    "FuncCall": "funcname args agg_order agg_filter over agg_within_group agg_star agg_distinct func_variadic "
    "funcformat ignore_nulls",
    "NamedArgExpr": "name arg argnumber",
    "TypeCast": "arg typeName",
    "TypeName": "names typmods typemod arrayBounds",
    "CollateClause": "arg collname",
    "SortBy": "node sortby_dir sortby_nulls useOp",
    "WindowDef": "name refname partitionClause orderClause frameOptions startOffset endOffset",
    "RangeVar": "catalogname schemaname relname inh relpersistence alias",
    "RangeSubselect": "lateral subquery alias",
    "RangeFunction": "lateral ordinality is_rowsfrom functions alias coldeflist",
    "RangeTableSample": "relation method args repeatable",
    "JoinExpr": "jointype isNatural larg rarg usingClause join_using_alias quals alias rtindex",
    "Alias": "aliasname colnames",
    "ColumnDef": "colname typeName is_local collClause",
    "List": "items",
    "WithClause": "ctes recursive",
    "CommonTableExpr": "ctename aliascolnames ctematerialized ctequery search_clause cycle_clause cterecursive",
    "CTESearchClause": "search_col_list search_breadth_first search_seq_column",
    "CTECycleClause": "cycle_col_list cycle_mark_column cycle_mark_value cycle_mark_default cycle_path_column",
    "A_Indirection": "arg indirection",
    "A_Indices": "is_slice lidx uidx",
    "A_ArrayExpr": "elements list_start list_end",
    "RowExpr": "args row_format colnames",
    "GroupingSet": "kind content",
    "GroupingFunc": "args",
    "SQLValueFunction": "op typmod",
    "ParamRef": "number",
    "JsonObjectConstructor": "exprs output absent_on_null unique",
    "JsonArrayConstructor": "exprs output absent_on_null",
    "JsonArrayQueryConstructor": "query output format absent_on_null",
    "JsonObjectAgg": "constructor arg absent_on_null unique",
    "JsonArrayAgg": "constructor arg absent_on_null",
    "JsonAggConstructor": "output agg_filter agg_order over",
    "JsonKeyValue": "key value",
    "JsonValueExpr": "raw_expr formatted_expr format",
    "JsonFormat": "format_type encoding",
    "JsonOutput": "typeName returning",
    "JsonReturning": "format typid typmod",
    "JsonIsPredicate": "expr format item_type unique_keys exprBaseType",
    "JsonParseExpr": "expr output unique_keys",
    "JsonScalarExpr": "expr output",
    "JsonSerializeExpr": "expr output",
    "JsonFuncExpr": "op column_name context_item pathspec passing output on_empty on_error wrapper quotes",
    "JsonArgument": "val name",
    "JsonBehavior": "btype expr coerce",
    "JsonTable": "context_item pathspec passing columns on_error alias lateral",
    "JsonTablePathSpec": "string name name_location",
    "JsonTableColumn": "coltype name typeName pathspec format wrapper quotes columns on_empty on_error",
}
FIELDS: Final = {kind: frozenset((*fields.split(), "location", "xpr")) for kind, fields in _NODES.items()}
LEAVES: Final = frozenset(("A_Const", "A_Star", "String", "Integer", "Float", "Boolean", "BitString"))
DIRECT: Final = {
    **dict.fromkeys(("larg", "rarg"), "SelectStmt"),
    **dict.fromkeys(("alias", "join_using_alias"), "Alias"),
    **dict.fromkeys(("on_empty", "on_error"), "JsonBehavior"),
    "withClause": "WithClause",
    "typeName": "TypeName",
    "over": "WindowDef",
    "collClause": "CollateClause",
    "search_clause": "CTESearchClause",
    "cycle_clause": "CTECycleClause",
    "output": "JsonOutput",
    "returning": "JsonReturning",
    "format": "JsonFormat",
    "constructor": "JsonAggConstructor",
    "context_item": "JsonValueExpr",
    "value": "JsonValueExpr",
    "pathspec": "JsonTablePathSpec",
    "JsonObjectAgg.arg": "JsonKeyValue",
    **dict.fromkeys(("JsonArrayAgg.arg", "JsonParseExpr.expr", "JsonSerializeExpr.expr"), "JsonValueExpr"),
}
"""The type of fields whose value is not wrapped in the name of its type, by the field, or by node and field."""
READING: Final = {"intoClause": Rule.READ_ONLY, "lockingClause": Rule.READ_ONLY}
"""The rule that a field breaks, but for the syntax."""
CLOCKS: Final = frozenset(
    f"SVFOP_{name}"
    for name in (
        *("CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIME_N", "CURRENT_TIMESTAMP", "CURRENT_TIMESTAMP_N"),
        *("LOCALTIME", "LOCALTIME_N", "LOCALTIMESTAMP", "LOCALTIMESTAMP_N"),
    )
)
EXPLAIN_OPTIONS: Final = frozenset(("verbose", "costs", "format", "summary"))
STATEMENTS: Final = {"VariableSetStmt": "SET", "VariableShowStmt": "SHOW", "TransactionStmt": "this statement"}
