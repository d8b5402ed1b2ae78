-- Takes every job with it, the history too.
drop view {schema}.job_all;
drop table {schema}.subscriber;
drop table {schema}.idle;
drop table {schema}.insert_key;
drop table {schema}.schedule;
drop table {schema}.value;
drop table {schema}.lease;
drop table {schema}.job_key;
drop table {schema}.tally;
drop table {schema}.job_finalized;
drop table {schema}.dynamic_queue;
drop table {schema}.queue;
drop table {schema}.gate;
drop table {schema}.job;
drop table {schema}.leader;
drop table {schema}.client;
drop type {schema}.job_state;
