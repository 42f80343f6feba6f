-- $1 subsystem, $2 key, $3 reply-to, $4 correlation id
delete from gaia.waiter where subsystem = $1 and key = $2 and reply_to = $3 and correlation_id = $4
