-- remove the test double of engine.sql
DROP SCHEMA :schema CASCADE;
SET allow_system_table_mods = on;
DELETE FROM pg_extension WHERE extname = :'extension' AND extversion = 'double';
RESET allow_system_table_mods;
