# dbt_pgstream.  "make", "make install", then "make installcheck" against a running server;
# "bash test/run.sh" does all of it on a private cluster.
EXTENSION    = dbt_pgstream
EXTVERSION   = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(EXTENSION).control)
MODULE_big   = dbt_pgstream
DATA_built   = sql/$(EXTENSION)--$(EXTVERSION).sql
PG_CPPFLAGS  = -Isrc

# in the order in which data flows: a definition, a refresh, the doors
OBJS = \
	src/module.o \
	src/catalog/relids.o \
	src/catalog/stream.o \
	src/catalog/source.o \
	src/catalog/history.o \
	src/catalog/link.o \
	src/capture/mark.o \
	src/capture/buffer.o \
	src/capture/pack.o \
	src/capture/append.o \
	src/capture/trigger.o \
	src/capture/spare.o \
	src/capture/wake.o \
	src/capture/obstacle.o \
	src/capture/attach.o \
	src/capture/frontier.o \
	src/capture/gather.o \
	src/capture/empty.o \
	src/query/parse.o \
	src/query/expand.o \
	src/query/stable.o \
	src/query/check.o \
	src/query/key.o \
	src/query/restrict.o \
	src/query/columns.o \
	src/query/define.o \
	src/delta/embed.o \
	src/delta/cte.o \
	src/delta/peel.o \
	src/delta/grouping.o \
	src/delta/correlate.o \
	src/delta/correlate_set.o \
	src/delta/quantified.o \
	src/delta/scalar.o \
	src/delta/sublink.o \
	src/delta/lateral.o \
	src/delta/wholerow.o \
	src/delta/block.o \
	src/delta/aggregate.o \
	src/delta/distinct.o \
	src/delta/partition.o \
	src/delta/union.o \
	src/delta/intersect.o \
	src/delta/full.o \
	src/delta/leaf.o \
	src/delta/clock.o \
	src/delta/shared.o \
	src/delta/join.o \
	src/delta/outer.o \
	src/delta/on.o \
	src/delta/padding.o \
	src/delta/describe.o \
	src/refresh/identity.o \
	src/refresh/image.o \
	src/refresh/relative.o \
	src/refresh/attempt.o \
	src/refresh/execute.o \
	src/refresh/writer.o \
	src/refresh/load.o \
	src/refresh/numeric.o \
	src/refresh/extreme.o \
	src/refresh/element.o \
	src/refresh/keys.o \
	src/refresh/groups.o \
	src/refresh/partitions.o \
	src/refresh/state.o \
	src/refresh/diff.o \
	src/refresh/scope.o \
	src/refresh/locate.o \
	src/refresh/apply.o \
	src/refresh/incremental.o \
	src/refresh/explain.o \
	src/refresh/verify.o \
	src/refresh/refresh.o \
	src/schedule/duration.o \
	src/schedule/cron.o \
	src/schedule/due.o \
	src/schedule/dag.o \
	src/schedule/group.o \
	src/schedule/worker.o \
	src/schedule/launcher.o \
	src/provider/provider.o \
	src/provider/define.o \
	src/provider/builtin.o \
	src/provider/external.o \
	src/ddl/events.o \
	src/ddl/guard.o \
	src/api/stream_table.o \
	src/api/inspect.o \
	src/dbt/upsert.o

# setup first: it makes the oracle that the others use
REGRESS        = setup $(filter-out setup,$(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql))))
REGRESS_OPTS   = --inputdir=test --load-extension=$(EXTENSION)
ISOLATION      = $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --outputdir=. --load-extension=$(EXTENSION)
EXTRA_CLEAN    = sql/$(EXTENSION)--$(EXTVERSION).sql

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

sql/$(EXTENSION)--$(EXTVERSION).sql: sql/$(EXTENSION).sql $(EXTENSION).control
	cp $< $@
$(OBJS): $(wildcard src/*.h src/*/*.h)
