-- lock_folding: up to which run everything was looked at; whoever asks folds alone until the transaction ends.
select upto from leat.folding for update;
