/*
 * keys.c - the keys of a block's groups: compared, hashed, and collected
 *
 * Equal is what the default equality of a type says, and NULL equals NULL, as in GROUP BY.  The hash is stored in states, so it must
 * not change: it is made of the hashes that hash partitioning stands on.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "refresh/refresh_internal.h"
#include "utils/typcache.h"

void
pgs_keys_open(PgsKeys *keys, const PgsBlock *block)
{
	keys->nkeys = block->nkeys;
	keys->hash = palloc(sizeof(FmgrInfo) * block->nkeys);
	keys->eq = palloc(sizeof(FmgrInfo) * block->nkeys);
	keys->collations = palloc(sizeof(Oid) * block->nkeys);
	for (int i = 0; i < block->nkeys; i++)
	{
		ColumnDef  *def = list_nth_node(ColumnDef, block->columns, i + 1);
		TypeCacheEntry *entry = lookup_type_cache(def->typeName->typeOid, TYPECACHE_EQ_OPR_FINFO |
												  TYPECACHE_HASH_EXTENDED_PROC_FINFO);

		fmgr_info_copy(&keys->hash[i], &entry->hash_extended_proc_finfo, CurrentMemoryContext);
		fmgr_info_copy(&keys->eq[i], &entry->eq_opr_finfo, CurrentMemoryContext);
		keys->collations[i] = def->collOid;
	}
}

/* The hash by which a group is found. */
int64
pgs_keys_hash(PgsKeys *keys, const Datum *values, const bool *nulls)
{
	uint64		result = 0;

	for (int i = 0; i < keys->nkeys; i++)
	{
		uint64		h = nulls[i] ? 0 : DatumGetUInt64(FunctionCall2Coll(&keys->hash[i], keys->collations[i], values[i],
																		Int64GetDatum(0)));

		result = result * 31 + h;
	}
	return (int64) result;
}

bool
pgs_keys_equal(PgsKeys *keys, const Datum *x, const bool *xnull, const Datum *y, const bool *ynull)
{
	for (int i = 0; i < keys->nkeys; i++)
		if (xnull[i] != ynull[i] ||
			(!xnull[i] && !DatumGetBool(FunctionCall2Coll(&keys->eq[i], keys->collations[i], x[i], y[i]))))
			return false;
	return true;
}

/* Store a row of a state that was computed, "from" but for its hash, in a slot "to" of the state; returns the hash. */
int64
pgs_keys_store(PgsKeys *keys, TupleTableSlot *from, TupleTableSlot *to)
{
	int64		hash;

	slot_getallattrs(from);
	hash = pgs_keys_hash(keys, from->tts_values, from->tts_isnull);
	ExecClearTuple(to);
	to->tts_values[0] = Int64GetDatum(hash);
	to->tts_isnull[0] = false;
	memcpy(to->tts_values + 1, from->tts_values, sizeof(Datum) * (to->tts_tupleDescriptor->natts - 1));
	memcpy(to->tts_isnull + 1, from->tts_isnull, sizeof(bool) * (to->tts_tupleDescriptor->natts - 1));
	ExecStoreVirtualTuple(to);
	return hash;
}

/* A tuplestore of keys of a block, for partitions with their hash, without rows yet. */
PgsDelta *
pgs_keys_delta(const PgsBlock *block, const char *name)
{
	PgsDelta   *delta = palloc0(sizeof(PgsDelta));

	delta->name = name;
	delta->natts = block->nkeys;
	delta->desc = CreateTemplateTupleDesc(block->nkeys + (block->kind == PGS_BLOCK_PARTITION));
	if (block->kind == PGS_BLOCK_PARTITION)
		TupleDescInitEntry(delta->desc, block->nkeys + 1, "h", INT8OID, -1, 0);
	for (int i = 0; i < block->nkeys; i++)
	{
		ColumnDef  *def = list_nth_node(ColumnDef, block->columns, i + 1);

		TupleDescInitEntry(delta->desc, i + 1, def->colname, def->typeName->typeOid, def->typeName->typemod, 0);
		TupleDescInitEntryCollation(delta->desc, i + 1, def->collOid);
	}
	delta->store = tuplestore_begin_heap(false, false, work_mem);
	return delta;
}
