# Run test/pgtap/*.sql in a database of their own; one ok or not ok line for each assertion.
if [ -n "$major" ]; then
    # pgTAP is plain SQL: what Debian packages for its own major serves the newer one
    v=$(apt-cache show postgresql | sed -n 's/^Depends:.*postgresql-\([0-9]\+\).*/\1/p' | head -1)
    pgs_apt "postgresql-$v-pgtap"
    cp /usr/share/postgresql/"$v"/extension/pgtap* "$("$PG_CONFIG" --sharedir)/extension/"
fi
psql -qX -c "SET client_min_messages = warning" -c "DROP DATABASE IF EXISTS pgtap" -c "CREATE DATABASE pgtap"
for file in test/pgtap/*.sql; do
    log=$PGS_WORK/$(basename "$file" .sql).tap
    psql -XAtq -d pgtap -f "$file" > "$log" 2>&1 || echo "not ok - psql gave up on $file" >> "$log"
    good=$(grep -c '^ok ' "$log" || true)
    bad=$(grep -c '^not ok ' "$log" || true)
    [ "$bad" -eq 0 ] && [ "$good" -gt 0 ] || cat "$log"
    count "pgtap $(basename "$file" .sql)" "$good" "$bad"
done
