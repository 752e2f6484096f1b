-- folded: everything up to this run was looked at.  $1 run
update leat.folding set upto = $1;
