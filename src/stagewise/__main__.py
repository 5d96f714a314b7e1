from stagewise.cli import main

main(prog_name="stagewise")
