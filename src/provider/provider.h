/*
 * provider.h - the engines that can stand behind a stream table
 *
 * Doors (api/, dbt/) resolve a name, find the engine that owns it, and call through this struct.  What an engine can't
 * do is said by the engine, in an error of its own.
 */
#ifndef PGS_PROVIDER_H
#define PGS_PROVIDER_H

#include "catalog/pgs_catalog.h"
#include "utils/tuplestore.h"

/* a stream table by name; relid is InvalidOid where it doesn't exist yet */
typedef struct PgsName
{
	char	   *schema;
	char	   *name;
	Oid			relid;
} PgsName;

/* what a caller asks for; NULL leaves a thing as it is (or as the engine's default) */
typedef struct PgsOptions
{
	const char *query;
	const char *schedule;
	const char *mode;
	const char *status;
	bool		initialize;
} PgsOptions;

typedef struct PgsEngine
{
	const char *name;			/* as in dbt_pgstream.engine */
	const char *schema;			/* of its functions; NULL for ours */
	const char *prefix;			/* of its catalogs: pgs or pgt */
	bool		(*owns) (const struct PgsEngine *self, Oid relid);
	void		(*create) (const struct PgsEngine *self, PgsName *name, const PgsOptions *options);
	void		(*alter) (const struct PgsEngine *self, const PgsName *name, const PgsOptions *options);
	void		(*drop) (const struct PgsEngine *self, const PgsName *name, bool cascade);
	void		(*refresh) (const struct PgsEngine *self, const PgsName *name);
	void		(*repair) (const struct PgsEngine *self, const PgsName *name);
	/* these append rows to a tuplestore of the SQL function's shape */
	void		(*explain) (const struct PgsEngine *self, const PgsName *name, Tuplestorestate *, TupleDesc);
	void		(*history) (const struct PgsEngine *self, const PgsName *name, int rows, Tuplestorestate *, TupleDesc);
	void		(*health) (const struct PgsEngine *self, Tuplestorestate *, TupleDesc);
} PgsEngine;

/* provider.c */
extern const PgsEngine *const pgs_engines[];	/* NULL-terminated, ours first */
extern bool pgs_engine_installed(const PgsEngine *engine);
extern const PgsEngine *pgs_engine_for_new(const char *wanted);
extern const PgsEngine *pgs_engine_of(Oid relid, bool missing_ok);
extern PgsName *pgs_name_parse(const char *text, bool create);
extern void pgs_put_property(Tuplestorestate *store, TupleDesc desc, const char *property, const char *value);
extern void pgs_put_query(Tuplestorestate *store, TupleDesc desc, const char *sql,
						  int nargs, const Oid *types, const Datum *values);

/* builtin.c, external.c */
extern const PgsEngine pgs_engine_builtin;
extern const PgsEngine pgs_engine_pg_stream;
extern const PgsEngine pgs_engine_pg_trickle;
extern void pgs_external_list(const PgsEngine *engine, Tuplestorestate *store, TupleDesc desc);

/* define.c: what the builtin engine and the upsert share */
extern PgsStream *pgs_define_create(PgsName *name, const PgsOptions *options);
struct PgsDefinition;
extern void pgs_define_refuse_mode(const struct PgsDefinition *def, PgsMode mode);
extern void pgs_define_replace(PgsStream *stream, const struct PgsDefinition *def);
extern bool pgs_define_same_columns(const PgsStream *stream, const struct PgsDefinition *def);
extern bool pgs_define_options(PgsStream *stream, const PgsOptions *options);
extern void pgs_define_repair(PgsStream *stream);
extern Oid	pgs_define_owner(Oid relid);
extern void pgs_define_require_owner(Oid relid);

#endif							/* PGS_PROVIDER_H */
