-- A journal of version 1, as the modhub of that time wrote it.
PRAGMA journal_mode = WAL;
BEGIN TRANSACTION;
CREATE TABLE hub (hub_id TEXT NOT NULL) STRICT;
INSERT INTO hub VALUES('d4f2136b6bed2858');
CREATE TABLE modules (module_id TEXT PRIMARY KEY, state TEXT NOT NULL, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO modules VALUES('asleep','hibernated',CAST('{"module_id":"asleep","kind":"store","state":"hibernated","dirty":true,"base":"0123456789abcdef/3","port":7001,"since":1700000000.5}' AS BLOB));
INSERT INTO modules VALUES('doomed','crashed',CAST('{"module_id":"doomed","kind":"store","state":"crashed","pending":"obliterate","last_error":"denied","since":1700000003.0}' AS BLOB));
INSERT INTO modules VALUES('parked','crashed',CAST('{"module_id":"parked","kind":"postgres","state":"crashed","dirty":true,"base":"0123456789abcdef/2","last_error":"its actor failed too often","since":1700000004.0,"parked":true}' AS BLOB));
INSERT INTO modules VALUES('stranded','unprovisioned',CAST('{"module_id":"stranded","kind":"store","dirty":true,"base":"0123456789abcdef/7","pending":"deprovision","suspect":true,"last_error":"the backend is down","since":1700000002.0}' AS BLOB));
INSERT INTO modules VALUES('up','provisioned',CAST('{"module_id":"up","kind":"redis","state":"provisioned","dirty":true,"base":"0123456789abcdef/1","port":7002,"pid":4711,"started_ticks":123456,"restarts":2,"since":1700000001.0}' AS BLOB));
COMMIT;
PRAGMA user_version = 1;
